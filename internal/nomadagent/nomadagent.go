// Package nomadagent writes the common part of the configurations of real Nomad agents,
// for tests and for loadtest.
package nomadagent

import "fmt"

// Config is an agent on one address.
type Config struct {
	Name, DataDir string
	// IP is the address on which it listens and that it advertises.
	IP string
	// HTTP, RPC and Serf are its ports.
	HTTP, RPC, Serf string
	ACL             bool
}

// HCL returns the configuration; the caller adds the server or client block.
func (c Config) HCL() string {
	return fmt.Sprintf(`name = %q
data_dir = %q
bind_addr = %[3]q
disable_update_check = true
log_level = "WARN"
advertise {
  http = %[3]q
  rpc = %[3]q
  serf = %[3]q
}
ports {
  http = %[4]s
  rpc = %[5]s
  serf = %[6]s
}
acl {
  enabled = %[7]v
}
`, c.Name, c.DataDir, c.IP, c.HTTP, c.RPC, c.Serf, c.ACL)
}
