# What serai may do, with ACLs on:
#
#   nomad acl policy apply -namespace default -job serai serai serai.policy.hcl

# Services of all namespaces, and the event stream that tells of their changes.
namespace "*" {
  capabilities = ["read-job"]
}

# Certificates, ACME challenges, locks, who holds a host that several services
# claim (serai/claims/...), and secrets that the config file keeps in variables
# (users_variable = "serai/auth/..."), in the namespace that serai runs in.
# A block for one namespace shadows that of the glob: read-job stands here again.
namespace "default" {
  capabilities = ["read-job"]

  variables {
    path "serai/*" {
      capabilities = ["read", "list", "write", "destroy"]
    }
  }
}
