# A service in another namespace. serai watches all namespaces unless --namespaces
# says otherwise, and its config file may say which hosts each one owns:
#
#   namespace "team-a" {
#     hosts = ["*.team-a.example.org"]
#   }
#
#   nomad namespace apply team-a
#   curl -H 'Host: shop.team-a.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "namespace" {
  namespace = "team-a"

  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "team-shop"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=shop.team-a.example.org"]
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
