# serai as a system job that reaches services in Consul, beside Nomad's. It is
# serai.raw_exec.nomad.hcl with what Consul needs; the other drivers take the same.
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

# The admin's address and port. Whoever reaches it reads all but secrets.
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

# Further flags. Without a default, so that a plan or a run that forgets the
# var-file fails, and does not take flags away: serai.vars.hcl has them.
variable "args" {
  type = list(string)
}

# The config file (docs/policies.md), which --config names when this is not empty.
variable "config" {
  type    = string
  default = ""
}

# Further files by their names, for flags such as
# "--sticky-key-file=$${NOMAD_SECRETS_DIR}/sticky-key". Both may have secrets from
# Nomad's Variables: {{ with nomadVar "nomad/jobs/serai" }}{{ .sticky }}{{ end }}
variable "files" {
  type    = map(string)
  default = {}
}

job "serai" {
  type        = "system"
  datacenters = var.datacenters
  priority    = 90

  # One node after the other, and the next one only when this one is ready: the
  # load balancer always has the others.
  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "5m"
    auto_revert      = true
    # Versions of Nomad that know no deployments of system jobs heed max_parallel
    # and this alone: longer than kill_timeout.
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

    # What is known of the services outlives a restart of the task, and with
    # sticky an update of the job, in the folder of --state-dir. It is one for each
    # driver, because their users differ and keep it to themselves.
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
          # Has /metrics and /health alone.
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
          # serai follows the config file and what it names. Another flag's file is
          # read at the start: nomad job restart serai.
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

      # Where the servers' consul block has a task_identity, Nomad logs the task in
      # at Consul, and serai uses that token: the role of the tasks needs what
      # serai.consul.policy.hcl has, as `nomad setup consul` gives it. It also
      # keeps serai to nodes with an agent of Consul.
      consul {}

      # Or the token is in a variable. serai reads the file again for each request.
      dynamic "template" {
        for_each = var.token_variable == "" ? [] : [var.token_variable]
        content {
          destination = "${NOMAD_SECRETS_DIR}/consul_token"
          change_mode = "noop"
          perms       = "600"
          data        = "{{ with nomadVar \"${template.value}\" }}{{ .token }}{{ end }}"
        }
      }

      # Holds drain-delay and drain-timeout, with three seconds to spare. An agent
      # silently allows no more than its max_kill_timeout, 30s unless it is raised:
      # the defaults of serai, 10s and 20s, would leave nothing. The delay is
      # longer than two health checks of a load balancer, 5s apart; the rest is
      # for requests in flight. Raise max_kill_timeout, this and --drain-timeout
      # where downloads take longer.
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
