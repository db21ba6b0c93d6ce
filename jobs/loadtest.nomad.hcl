# Load on a service through serai, from several nodes at once: for clusters that
# are larger than one machine. The binary is the load generator, built with
# `go build -o loadtest ./loadtest`, and must be on every node.
#
#   nomad job run -var binary=/usr/local/bin/loadtest -var host=dynamic.example.org loadtest.nomad.hcl
#   nomad alloc logs -job loadtest    # one line of JSON from each generator
#
# Each generator keeps its rate even if answers are slow, and measures a request's
# time from the moment when it was due.

variable "binary" {
  type    = string
  default = "/usr/local/bin/loadtest"
}

variable "generators" {
  type    = number
  default = 3
}

variable "url" {
  type        = string
  default     = "http://127.0.0.1:80/"
  description = "What is asked: serai on the generator's own node, or the load balancer."
}

variable "host" {
  type    = string
  default = "dynamic.example.org"
}

variable "rate" {
  type        = number
  default     = 1000
  description = "Requests a second of each generator; 0 for as many as go."
}

variable "connections" {
  type    = number
  default = 64
}

variable "lasts" {
  type    = string
  default = "60s"
}

job "loadtest" {
  type = "batch"

  group "generators" {
    count = var.generators

    # Each on another node, as far as there are enough.
    spread {
      attribute = "${node.unique.id}"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    restart {
      attempts = 0
    }

    task "generate" {
      driver = "raw_exec"

      config {
        command = var.binary
        args = [
          "generate", var.url, "--host=${var.host}", "--rate=${var.rate}",
          "--conns=${var.connections}", "--for=${var.lasts}",
        ]
      }

      resources {
        cpu    = 1000
        memory = 128
      }
    }
  }
}
