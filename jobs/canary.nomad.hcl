# Until it is promoted, a canary gets a tenth of the requests, and all requests with
# the header X-Canary: 1. canary_tags replace tags as long as an instance is a canary.
#
#   curl -H 'Host: canary.example.org' http://ANY-NODE/
#   curl -H 'Host: canary.example.org' -H 'X-Canary: 1' http://ANY-NODE/
#   nomad job run -var version=2 canary.nomad.hcl && nomad job promote canary

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

variable "version" {
  type    = string
  default = "1"
}

job "canary" {
  update {
    canary           = 1
    max_parallel     = 1
    min_healthy_time = "2s"
    healthy_deadline = "1m"
  }

  group "web" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name     = "canary"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=canary.example.org"]
      canary_tags = [
        "ingress.host=canary.example.org",
        "ingress.canary=10%",
        "ingress.asked.host=canary.example.org",
        "ingress.asked.header=X-Canary: 1",
      ]

      check {
        type     = "http"
        path     = "/healthz"
        interval = "2s"
        timeout  = "1s"
      }
    }

    task "web" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=:${NOMAD_PORT_http}", "--name=version-${var.version}"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
