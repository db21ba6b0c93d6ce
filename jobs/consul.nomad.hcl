# Services in Consul: like groups.nomad.hcl, except for the provider, the function in
# the template, and the block that gives the template a token where Consul has
# ACLs. The front finds the instances of the back in Consul; with --consul, serai
# finds the front there, too.
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

      # Has Nomad log the task in at Consul, if the servers' consul block has a
      # task_identity. Templates then use that token; without this block they use one
      # that Consul refuses. Without ACLs it has no effect.
      consul {}

      # When instances of the back come and go, Nomad renders this again and restarts
      # the task; requests wait at serai meanwhile. If your program can reload its
      # configuration, use change_mode = "signal".
      template {
        destination = "local/back.env"
        env         = true
        change_mode = "restart"
        data        = <<-EOT
          BACK={{ range service "consul-back" }}{{ .Address }}:{{ .Port }} {{ end }}
        EOT

        # Instances that start together cause only one restart.
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

    # No ingress tag: never reachable from outside.
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
