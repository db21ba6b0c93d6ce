# gRPC, without TLS towards the instances: each call goes to the next instance, whatever
# connection it came over. serai checks the instances with grpc.health.v1.
#
#   grpcurl -plaintext -authority grpc.example.org -d '{"text": "hello"}' ANY-NODE:80 serai.hello.v1.Echo/Say
#   curl --http2-prior-knowledge -H 'Host: grpc.example.org' http://ANY-NODE/

variable "binary" {
  type    = string
  default = "/usr/local/bin/serai"
}

job "grpc" {
  group "echo" {
    count = 2

    network {
      port "http" {}
    }

    service {
      name     = "grpc-echo"
      provider = "nomad"
      port     = "http"
      tags = [
        "ingress.host=grpc.example.org",
        "ingress.scheme=grpc",
        "ingress.check=grpc",
      ]
    }

    task "echo" {
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
