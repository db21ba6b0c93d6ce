# Policies: a rate for each client, an address list, and other paths and fields than
# the service's own. docs/policies.md has all of them.
#
#   curl -H 'Host: policies.example.org' http://ANY-NODE/
#   curl -H 'Host: policies.example.org' http://ANY-NODE/v1/users
#
# The second is /api/users to the service, and both answers have X-Request-Id. From the
# 21st request of one moment on, a client gets 429 with Retry-After.

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "policies" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "policies-web"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=policies.example.org",
        "ingress.rate=10/s",
        "ingress.rate-burst=20",
        "ingress.rewrite=^/v1/(.*)$ /api/$1",
        "ingress.request-set=X-Client: {client}",
        "ingress.response-set=X-Request-Id: {request-id}",
        "ingress.response-remove=Server",

        # Closed to everybody but private networks.
        "ingress.admin.host=policies.example.org",
        "ingress.admin.path=/admin",
        "ingress.admin.allow=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fd00::/8",
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
