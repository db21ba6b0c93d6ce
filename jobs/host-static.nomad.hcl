# Host network, a port that the job fixes: one instance on a node.
#
#   curl -H 'Host: static.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

variable "port" {
  type    = number
  default = 9000
}

job "host-static" {
  group "web" {
    network {
      port "http" {
        static = var.port
      }
    }

    service {
      name     = "host-static"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=static.example.org"]
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
