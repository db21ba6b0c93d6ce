# serai as a system job with the exec driver: no container runtime is needed.
#
#   nomad job run -var-file=serai.vars.hcl -var binary=https://example.org/serai serai.exec.nomad.hcl

# The URL of the static binary.
variable "binary" {
  type    = string
  default = "https://example.org/serai"
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
      driver = "exec"

      config {
        command = "local/serai"
        args = concat([
          "serve",
          "--http=:${NOMAD_PORT_http}",
          "--https=:${NOMAD_PORT_https}",
          "--admin=${var.admin_address}:${NOMAD_PORT_admin}",
          # Serves only /metrics and /health.
          "--metrics=${NOMAD_ADDR_metrics}",
          "--state-dir=${NOMAD_ALLOC_DIR}/data/exec",
          "--node=${node.unique.id}",
          "--drain-delay=12s",
          "--drain-timeout=15s",
        ], var.config == "" ? [] : ["--config=${NOMAD_SECRETS_DIR}/serai.hcl"], var.args)
        # The user is nobody, unless the agent says otherwise. Of the capabilities
        # that tasks have by default, only binding ports below 1024 is left.
        cap_drop = ["all"]
        cap_add  = ["net_bind_service"]
      }

      artifact {
        source      = var.binary
        destination = "local/serai"
        mode        = "file"
        # options {
        #   checksum = "sha256:..."
        # }
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
          # Owned by nobody, the user of exec unless the agent says otherwise.
          perms = "0400"
          uid   = 65534
          gid   = 65534
        }
      }

      # The Task API and this identity are all that serai needs to talk to
      # Nomad.
      identity {
        env  = true
        file = true
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
