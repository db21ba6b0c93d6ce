# An instance that listens elsewhere than it is registered with: docs/troubleshooting.md.

variable "binary" {
  type = string
}

job "app" {
  group "web" {
    network {
      port "http" {}
      port "elsewhere" {}
    }

    service {
      name     = "app"
      provider = "nomad"
      port     = "http"
      tags     = ["ingress.host=app.example.org", "ingress.wait=1s"]
    }

    task "web" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=:${NOMAD_PORT_elsewhere}"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
