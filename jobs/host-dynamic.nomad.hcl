# Host network, a port that Nomad chooses, three instances.
#
#   curl -H 'Host: dynamic.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "host-dynamic" {
  group "web" {
    count = 3

    network {
      port "http" {}
    }

    service {
      name     = "host-dynamic"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=dynamic.example.org",
        "ingress.check=/healthz",
      ]
    }

    task "web" {
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
