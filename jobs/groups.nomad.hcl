# Several groups with services of their own. The front finds the instances of the
# back with a nomadService template, and names them when it answers; serai
# needs only the front's tags.
#
#   curl -H 'Host: groups.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "groups" {
  group "front" {
    network {
      port "http" {}
    }

    service {
      name     = "groups-front"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=groups.example.org"]
    }

    task "front" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=:${NOMAD_PORT_http}", "--name=front, with back at ${BACK}"]
      }

      # When instances of the back come and go, Nomad renders this again and restarts
      # the task; requests wait at serai meanwhile. If your program can reload its
      # configuration, use change_mode = "signal".
      template {
        destination = "local/back.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
          BACK={{ range nomadService "groups-back" }}{{ .Address }}:{{ .Port }} {{ end }}
        EOT

        # Instances that start together cause only one restart.
        wait {
          min = "2s"
          max = "10s"
        }
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }

  group "back" {
    count = 2

    network {
      port "http" {}
    }

    # No ingress tag: never reachable from outside.
    service {
      name     = "groups-back"
      provider = "nomad"
      port     = "http"
    }

    task "back" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=:${NOMAD_PORT_http}"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
