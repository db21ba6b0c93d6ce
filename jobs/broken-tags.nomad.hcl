# A mistake in a tag: serai refuses the route that the tag belongs to, the others
# work, and /rejections says why and what to write instead.
#
#   curl -H 'Host: fine.example.org' http://ANY-NODE/
#   curl http://127.0.0.1:8081/rejections

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "broken-tags" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "broken-tags"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=fine.example.org",
        "ingress.typo.host=typo.example.org",
        "ingress.typo.stripp=/x",
        "ingress.nohost.path=/only",
        "ingress.unit.host=unit.example.org",
        "ingress.unit.timeout=30",
        "ingress.url.host=http://url.example.org/",
        "ingress.Upper.host=upper.example.org",
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
