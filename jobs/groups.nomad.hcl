# Several groups with services of their own. The front finds the instances of the
# back with a nomadService template; the ingress needs only the front's tags.
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
        args    = ["hello", "--addr=:${NOMAD_PORT_http}"]
      }

      template {
        destination = "local/back.env"
        env         = true
        change_mode = "noop"
        data        = <<-EOT
          BACK={{ range nomadService "groups-back" }}{{ .Address }}:{{ .Port }} {{ end }}
        EOT
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
