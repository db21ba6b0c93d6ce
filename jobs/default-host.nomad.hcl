# A service without a host of its own, where serai runs with
# --default-host={service}.example.org.
#
#   curl -H 'Host: default-host.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "default-host" {
  group "web" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name     = "default-host"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.enable=true"]
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
