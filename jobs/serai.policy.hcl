# What serai may do in Nomad, if ACLs are on:
#
#   nomad acl policy apply -namespace default -job serai serai serai.policy.hcl

# Services of all namespaces, and the event stream with their changes.
namespace "*" {
  capabilities = ["read-job"]
}

# Certificates, ACME challenges, locks, who holds a host that several services
# claim (serai/claims/...), and secrets that the config file keeps in variables
# (users_variable = "serai/auth/..."), in the namespace that serai runs in.
# Nomad uses only the most specific block for a namespace, so read-job is repeated here.
namespace "default" {
  capabilities = ["read-job"]

  variables {
    path "serai/*" {
      capabilities = ["read", "list", "write", "destroy"]
    }
  }
}
