package quota

import "net/netip"

// ClientOf is what counts as one client: an IPv4 address, or the /64 of an IPv6 address, which one client usually has
// for itself. It is invalid for an invalid address.
func ClientOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
