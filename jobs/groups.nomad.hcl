# Several groups with services of their own. The front finds the instances of the
# back with a nomadService template, and names them when it answers; the ingress
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

      # It is rendered again when instances of the back come and go, and restarts
      # the task: requests wait at serai for that moment. A program that reads its
      # configuration again is better off with change_mode = "signal".
      template {
        destination = "local/back.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
          BACK={{ range nomadService "groups-back" }}{{ .Address }}:{{ .Port }} {{ end }}
        EOT

        # Instances that start together make one restart.
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

    # No tag of ours: never reachable from outside.
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
