# What serai may do in Consul, if ACLs are on: read services and nodes, and write
# nothing.
#
#   consul acl policy create -name serai -rules @serai.consul.policy.hcl

service_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
