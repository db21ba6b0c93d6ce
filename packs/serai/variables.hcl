variable "driver" {
  description = "docker, exec or raw_exec."
  type        = string
  default     = "docker"
}

variable "image" {
  description = "The image, for docker. With the version in its tag, an update or a rollback is a change of this line."
  type        = string
  default     = "serai:dev"
}

variable "binary" {
  description = "The binary: for exec a URL, for raw_exec its path on the nodes."
  type        = string
  default     = "/usr/local/bin/serai"
}

variable "args" {
  description = "Flags, such as [\"--acme-email=ops@example.org\"]. There is no default, so that a run without the var-file fails instead of removing flags."
  type        = list(string)
}

variable "config" {
  description = "The text of the config file, or nothing. It is a template of the job: secrets may come from Nomad Variables."
  type        = string
  default     = ""
}

variable "files" {
  description = "Further files by name, below $${NOMAD_SECRETS_DIR}, as templates of the job."
  type        = map(string)
  default     = {}
}

variable "datacenters" {
  description = "The datacenters where serai runs."
  type        = list(string)
  default     = ["*"]
}

variable "http_port" {
  description = "The port for HTTP."
  type        = number
  default     = 80
}

variable "https_port" {
  description = "The port for HTTPS."
  type        = number
  default     = 443
}

variable "admin_address" {
  description = "The admin listener's address. Whoever reaches it can read everything but secrets."
  type        = string
  default     = "127.0.0.1"
}

variable "admin_port" {
  description = "The admin listener's port."
  type        = number
  default     = 8081
}

variable "metrics_port" {
  description = "The port on the node's address where Prometheus finds /metrics, as the service serai-metrics."
  type        = number
  default     = 9464
}
