app {
  url = "https://www.nomadproject.io"
}

pack {
  name        = "serai"
  description = "Ingress of a Nomad cluster: a system job that takes requests on every node and routes them by tags of services."
  version     = "0.1.0"
}
