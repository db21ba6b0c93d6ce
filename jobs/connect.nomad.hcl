# A service in Consul's mesh: each allocation has a network of its own (CNI), and only its
# sidecar is reached from outside, with mutual TLS. serai needs --consul, and a token that
# may write the service serai: docs/consul.md.
#
#   curl -H 'Host: connect.example.org' http://ANY-NODE/
#
# The sidecar is the Envoy that Nomad runs with Docker, or, with -var sidecar=builtin,
# Consul's own proxy, which needs no Docker.

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

variable "sidecar" {
  type    = string
  default = "envoy"
}

# For sidecar=builtin. The agent of the node must be reached at the node's address.
variable "consul" {
  type    = string
  default = "/usr/bin/consul"
}

job "connect" {
  group "web" {
    count = 2

    network {
      mode = "bridge"
    }

    service {
      name     = "connect"
      provider = "consul"
      port     = "8080"
      tags = [
        "ingress.host=connect.example.org",
        "ingress.connect=on",
        "ingress.check=/healthz",
      ]

      connect {
        sidecar_service {}

        dynamic "sidecar_task" {
          for_each = var.sidecar == "builtin" ? ["consul connect proxy"] : []

          content {
            driver = "exec"

            config {
              command = var.consul
              args = [
                "connect", "proxy", "-service=connect", "-service-addr=127.0.0.1:8080",
                "-listen=0.0.0.0:${NOMAD_PORT_connect_proxy_connect}",
              ]
            }

            env {
              CONSUL_HTTP_ADDR = "http://${attr.unique.network.ip-address}:8500"
            }

            resources {
              cpu    = 50
              memory = 128
            }
          }
        }
      }
    }

    task "web" {
      driver = "exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=127.0.0.1:8080"]
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }
}
