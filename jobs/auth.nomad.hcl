# Behind a login: serai asks for a name and a password. The tag names an auth block of the
# operator's config file (serai.config.hcl). The users are in a Nomad variable, and a change
# of it takes effect within seconds:
#
#   htpasswd -cbB users ann secret
#   nomad var put serai/auth/staff users=@users
#   nomad job run -var-file=serai.vars.hcl -var "config=$(cat serai.config.hcl)" serai.raw_exec.nomad.hcl
#
# Without a password serai answers 401, and 503 until it has read the users. The instance
# gets the name in X-Forwarded-User.
#
#   curl -H 'Host: auth.example.org' -H 'Authorization: Basic YW5uOnNlY3JldA==' http://ANY-NODE/
#   curl -H 'Host: auth.example.org' http://ANY-NODE/public
#
# To send users to a single sign-on instead, see "Asking a service" in docs/policies.md.

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "auth" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "auth-web"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.app.host=auth.example.org",
        "ingress.app.auth=staff",

        # Open to everybody.
        "ingress.public.host=auth.example.org",
        "ingress.public.path=/public",
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
