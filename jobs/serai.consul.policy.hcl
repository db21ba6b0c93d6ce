# What serai may do in Consul, with ACLs on: it reads services and nodes, and writes
# nothing.
#
#   consul acl policy create -name serai -rules @serai.consul.policy.hcl

service_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
