# Your settings for serai's own job. Keep your copy in version control, and give it
# to every plan and run; the job file itself needs no change:
#
#   nomad job plan -var-file=serai.vars.hcl serai.docker.nomad.hcl
#   nomad job run -var-file=serai.vars.hcl serai.docker.nomad.hcl

# For docker the image, otherwise the binary: its path on the nodes, for exec a URL.
# With the version in the name, an update or a rollback is a change of this line.
#   image  = "registry.example.org/serai:1.0.0"
#   binary = "/usr/local/bin/serai"

# Flags. Certificates for all hosts, on all nodes:
#   args = ["--acme-email=ops@example.org", "--https-only"]
args = []

# The config file. serai.config.hcl has an example, docs/policies.md has all blocks.
#   config = <<-EOT
#     auth "staff" {
#       basic {
#         users_variable = "serai/auth/staff"
#       }
#     }
#   EOT

# Further files, here with a key from the Nomad variable that this job may read
# without a policy:
#   nomad var put nomad/jobs/serai sticky=$(openssl rand -hex 32)
# and in args "--sticky-key-file=$${NOMAD_SECRETS_DIR}/sticky-key".
#   files = {
#     sticky-key = "{{ with nomadVar \"nomad/jobs/serai\" }}{{ .sticky }}{{ end }}"
#   }
