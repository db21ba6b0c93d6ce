# Two services share a host: the path decides which one gets the request. For the
# second, serai removes the prefix /api.
#
#   curl -H 'Host: path.example.org' http://ANY-NODE/
#   curl -H 'Host: path.example.org' http://ANY-NODE/api/items

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "path" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "path-web"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=path.example.org",
        "ingress.old.host=old.example.org",
        "ingress.old.redirect=https://path.example.org{path}",
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

  group "api" {
    network {
      port "http" {}
    }

    service {
      name     = "path-api"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=path.example.org",
        "ingress.path=/api",
        "ingress.strip=/api",
        "ingress.timeout=30s",
      ]
    }

    task "api" {
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
