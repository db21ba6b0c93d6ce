# Several tasks of one group in one network namespace (bridge): they talk over
# localhost, and each has a service of its own.
#
#   curl -H 'Host: front.example.org' http://ANY-NODE/
#   curl -H 'Host: back.example.org'  http://ANY-NODE/

variable "image" {
  type    = string
  default = "serai:dev"
}

job "shared-namespace" {
  group "pair" {
    network {
      mode = "bridge"
      port "front" {
        to = 8080
      }
      port "back" {
        to = 8090
      }
    }

    service {
      name     = "shared-front"
      provider = "nomad"
      port     = "front"
      tags     = ["ingress.host=front.example.org"]
    }

    service {
      name     = "shared-back"
      provider = "nomad"
      port     = "back"
      tags     = ["ingress.host=back.example.org"]
    }

    task "front" {
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

    task "back" {
      driver = "docker"

      config {
        image = var.image
        args  = ["hello", "--addr=:8090"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
