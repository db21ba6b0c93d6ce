# Behind a login: a name and a password, which serai asks for. The tag only names the auth;
# who may pass stands in the operator's file (serai.config.hcl), and the users in a Nomad
# variable, which is followed:
#
#   htpasswd -cbB users ann secret
#   nomad var put serai/auth/staff users=@users
#   nomad job run -var-file=serai.vars.hcl -var "config=$(cat serai.config.hcl)" serai.raw_exec.nomad.hcl
#
# Without a password it answers 401, and 503 as long as nobody knows the users. The instance
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
