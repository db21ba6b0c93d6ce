# serai as a system job that reaches services in Consul, besides Nomad's. It is
# serai.raw_exec.nomad.hcl with what Consul needs; add the same for other drivers.
#
#   nomad job run -var-file=serai.vars.hcl -var binary=/usr/local/bin/serai serai.consul.nomad.hcl
#
# A test of this folder runs it on a real Nomad and a real Consul, without ACLs,
# with the token of the task's identity, and with one in a variable.

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

variable "datacenters" {
  type    = list(string)
  default = ["*"]
}

variable "http_port" {
  type    = number
  default = 80
}

variable "https_port" {
  type    = number
  default = 443
}

# The admin's address and port. Whoever reaches it can read everything but secrets.
variable "admin_address" {
  type    = string
  default = "127.0.0.1"
}

variable "admin_port" {
  type    = number
  default = 8081
}

# Where Prometheus finds /metrics, on the node's address: docs/observability.
variable "metrics_port" {
  type    = number
  default = 9464
}

# The agent of Consul on each node.
variable "consul" {
  type    = string
  default = "127.0.0.1:8500"
}

# A Nomad variable whose item "token" is serai's token for Consul, for clusters
# whose Nomad has no identities for Consul:
#   consul acl policy create -name serai -rules @serai.consul.policy.hcl
#   consul acl token create -description serai -policy-name serai
#   nomad var put nomad/jobs/serai/serai token=SECRET-ID
#   nomad job run -var-file=serai.vars.hcl -var token_variable=nomad/jobs/serai/serai ...
variable "token_variable" {
  type    = string
  default = ""
}

# Further flags: serai.vars.hcl has them. There is no default, so that a plan or a
# run without the var-file fails instead of removing flags.
variable "args" {
  type = list(string)
}

# The text of the config file (docs/policies.md). If it is not empty, the job sets --config.
variable "config" {
  type    = string
  default = ""
}

# Further files, by name, for flags such as
# "--sticky-key-file=$${NOMAD_SECRETS_DIR}/sticky-key". They and config may take secrets from
# Nomad Variables: {{ with nomadVar "nomad/jobs/serai" }}{{ .sticky }}{{ end }}
variable "files" {
  type    = map(string)
  default = {}
}

job "serai" {
  type        = "system"
  datacenters = var.datacenters
  priority    = 90

  # One node after the other, the next one only when this one is ready: the load
  # balancer always has the others.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "5m"
    auto_revert      = true
    # Versions of Nomad without deployments of system jobs use only max_parallel
    # and this, which must be longer than kill_timeout.
    stagger = "45s"
  }

  group "serai" {
    network {
      mode = "host"
      port "http" {
        static = var.http_port
      }
      port "https" {
        static = var.https_port
      }
      # Reserved, so that no other job takes it while serai restarts.
      port "admin" {
        static = var.admin_port
      }
      port "metrics" {
        static = var.metrics_port
      }
    }

    # The folder of --state-dir: what serai knows of the services survives a restart
    # of the task, and, with sticky, an update of the job. Each driver has its own,
    # because each runs as another user, who alone may read it.
    ephemeral_disk {
      sticky = true
      size   = 110
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "2s"
      mode     = "delay"
    }

    service {
      name     = "serai"
      provider = "nomad"
      port     = "http"

      check {
        type     = "http"
        path     = "/.serai/ready"
        interval = "5s"
        timeout  = "2s"
      }
    }

    # For the service discovery of Prometheus (nomad_sd_configs).
    service {
      name     = "serai-metrics"
      provider = "nomad"
      port     = "metrics"
    }

    task "serai" {
      driver = "raw_exec"

      config {
        command = var.binary
        args = concat([
          "serve",
          "--http=:${NOMAD_PORT_http}",
          "--https=:${NOMAD_PORT_https}",
          "--admin=${var.admin_address}:${NOMAD_PORT_admin}",
          # Serves only /metrics and /health.
          "--metrics=${NOMAD_ADDR_metrics}",
          "--state-dir=${NOMAD_ALLOC_DIR}/data/raw_exec",
          "--node=${node.unique.id}",
          "--consul=${var.consul}",
          "--consul-node=${attr.unique.consul.name}",
          "--drain-delay=12s",
          "--drain-timeout=15s",
        ], var.config == "" ? [] : ["--config=${NOMAD_SECRETS_DIR}/serai.hcl"], var.args)
      }

      dynamic "template" {
        for_each = { for name, text in merge({ "serai.hcl" = var.config }, var.files) : name => text if text != "" }

        content {
          data        = template.value
          destination = "${NOMAD_SECRETS_DIR}/${template.key}"
          # serai reads the config file, and the files it names, again when they
          # change. Files such as the one of --sticky-key-file are read only at the
          # start: nomad job restart serai.
          change_mode = "noop"
          perms       = "0600"
        }
      }

      # The Task API and this identity are all that serai needs to talk to
      # Nomad.
      identity {
        env  = true
        file = true
      }

      # If the servers' consul block has a task_identity, Nomad logs the task in at
      # Consul, and serai uses that token: the tasks' role needs the rights of
      # serai.consul.policy.hcl, as `nomad setup consul` gives them. The block also
      # keeps serai to nodes with an agent of Consul.
      consul {}

      # Or the token is in a Nomad variable. serai reads the file again for each request.
      dynamic "template" {
        for_each = var.token_variable == "" ? [] : [var.token_variable]
        content {
          destination = "${NOMAD_SECRETS_DIR}/consul_token"
          change_mode = "noop"
          perms       = "600"
          data        = "{{ with nomadVar \"${template.value}\" }}{{ .token }}{{ end }}"
        }
      }

      # Long enough for drain-delay and drain-timeout, with three seconds to spare.
      # An agent silently allows no more than its max_kill_timeout, 30s by default:
      # serai's own defaults, 10s and 20s, would leave nothing to spare. The delay is
      # longer than two health checks of a load balancer, 5s apart; the rest is
      # for requests in flight. If downloads take longer, raise max_kill_timeout,
      # this and --drain-timeout.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      resources {
        cpu        = 500
        memory     = 128
        memory_max = 1024
      }
    }
  }
}
