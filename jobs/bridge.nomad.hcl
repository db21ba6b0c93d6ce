# Bridge mode (CNI): each allocation has a network of its own, and a port of the
# host leads into it.
#
#   curl -H 'Host: bridge.example.org' http://ANY-NODE/

variable "image" {
  type    = string
  default = "serai:dev"
}

job "bridge" {
  group "web" {
    count = 2

    network {
      mode = "bridge"
      port "http" {
        to = 8080
      }
    }

    service {
      name     = "bridge"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=bridge.example.org"]
    }

    task "web" {
      driver = "docker"

      config {
        image = var.image
        args  = ["hello", "--addr=:8080"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
