# Services in Consul: as groups.nomad.hcl, but for the provider, the function of
# the template, and the block that gives the template a token where Consul has
# ACLs. The front finds the instances of the back in Consul, and so does the
# ingress find the front, with --consul.
#
#   curl -H 'Host: consul.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "consul" {
  group "front" {
    network {
      port "http" {}
    }

    service {
      name     = "consul-front"
      provider = "consul"
      port     = "http"
      tags     = ["ingress.host=consul.example.org"]
    }

    task "front" {
      driver = "raw_exec"

      config {
        command = var.binary
        args    = ["hello", "--addr=:${NOMAD_PORT_http}", "--name=front, with back at ${BACK}"]
      }

      # Has Nomad log the task in at Consul, where the servers' consul block has a
      # task_identity: templates ask with that token, and without one with a token
      # that Consul refuses. Without ACLs it does nothing.
      consul {}

      # It is rendered again when instances of the back come and go, and restarts
      # the task: requests wait at serai for that moment. A program that reads its
      # configuration again is better off with change_mode = "signal".
      template {
        destination = "local/back.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
          BACK={{ range service "consul-back" }}{{ .Address }}:{{ .Port }} {{ end }}
        EOT

        # Instances that start together make one restart.
        wait {
          min = "2s"
          max = "10s"
        }
      }

      resources {
        cpu    = 50
        memory = 64
      }
    }
  }

  group "back" {
    count = 2

    network {
      port "http" {}
    }

    # No tag of ours: never reachable from outside.
    service {
      name     = "consul-back"
      provider = "consul"
      port     = "http"
    }

    task "back" {
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
