# The operator's config file (--config). The job files write it from their variable config.
# docs/policies.md has all blocks.

# ingress.auth=staff asks for a name and a password. The users are the item "users" of this
# Nomad variable, in the namespace that serai runs in: lines as htpasswd -B writes them.
auth "staff" {
  basic {
    users_variable = "serai/auth/staff"
  }
}
