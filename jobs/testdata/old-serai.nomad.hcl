# A serai of the cluster that does not obtain certificates yet: one that runs with
# the flags from before.

variable "binary" {
  type = string
}

variable "http_port" {
  type = number
}

job "serai-old" {
  group "serai" {
    network {
      mode = "host"
      port "http" {
        static = var.http_port
      }
    }

    service {
      name     = "serai"
      provider = "nomad"
      port     = "http"
    }

    task "serai" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["serve", "--http=:${NOMAD_PORT_http}", "--admin=", "--drain-delay=0s"]
      }

      identity {
        env = true
      }

      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
