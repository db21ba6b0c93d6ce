# Docker: port 8080 of the container is mapped to a port of the host.
#
#   curl -H 'Host: mapped.example.org' http://ANY-NODE/

variable "image" {
  type    = string
  default = "serai:dev"
}

job "docker-mapped" {
  group "web" {
    count = 2

    network {
      port "http" {
        to = 8080
      }
    }

    service {
      name     = "docker-mapped"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=mapped.example.org"]
    }

    task "web" {
      driver = "docker"

      config {
        image = var.image
        args  = ["hello", "--addr=:8080"]
        ports = ["http"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
