# Requests of one client go to one instance: by a cookie that serai sets (sticky),
# or by a hash of a cookie of the application (lb=hash:cookie:NAME).
#
#   curl -H 'Host: sticky.example.org' -H 'Cookie: session=abc' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "sticky" {
  group "web" {
    count = 3

    network {
      port "http" {}
    }

    service {
      name     = "sticky"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=sticky.example.org",
        "ingress.sticky=serai",
        "ingress.lb=hash:cookie:session",
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
