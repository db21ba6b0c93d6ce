# Policies: a rate limit for each client, an allowlist of addresses, changed paths and
# header fields. docs/policies.md has all of them.
#
#   curl -H 'Host: policies.example.org' http://ANY-NODE/
#   curl -H 'Host: policies.example.org' http://ANY-NODE/v1/users
#
# The service gets the second as /api/users, and both answers have X-Request-Id. If a client
# sends more than 20 requests at once, the others get 429 with Retry-After.

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

        # Only for private networks.
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
