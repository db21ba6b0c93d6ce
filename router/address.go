package router

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"serai/discovery"
)

// A registration may hold any address: Nomad registers whatever the job's service block
// says. An address that means another machine on each node, or is not the service's
// own, would let a team publish what it does not own: the loopback of every node, the
// metadata service of the cloud, Nomad itself, serai itself.

// reserved are networks in which no service can be, besides loopback, link-local and
// multicast (IANA's special-purpose registries). The IPv6 ones embed IPv4 addresses, to
// which some systems forward them: 6to4 (RFC 3056) and Teredo (RFC 4380).
var reserved = prefixes("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "2002::/16", "2001::/32")

// unicast are the IPv6 networks in which a service can be: global, unique local,
// and what translators reach. All others are unassigned or deprecated, or embed IPv4
// addresses: ::/96, ::ffff:0:0:0/96, 64:ff9b:1::/48.
var unicast = append(prefixes("2000::/3", "fc00::/7"), nat64)

// metadata are the addresses at which clouds hand out credentials, except link-local
// ones: those of Amazon, Google, Oracle, Scaleway, Linode and Alibaba over IPv6, of
// Alibaba, Azure and Oracle over IPv4.
var metadata = prefixes("fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128", "fd00:a9fe:a9fe::1/128",
	"fd00:100::100:200/128", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32")

// nat64 is the prefix behind which translators reach IPv4 (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// nomadPorts are the ports of Nomad's agents: HTTP, RPC, Serf. consulPorts are those of
// Consul's: RPC, Serf, HTTP, HTTPS, gRPC, DNS.
var (
	nomadPorts  = []int{4646, 4647, 4648}
	consulPorts = []int{8300, 8301, 8302, 8500, 8501, 8502, 8503, 8600}
)

func prefixes(all ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(all))
	for i, p := range all {
		list[i] = netip.MustParsePrefix(p)
	}
	return list
}

func within(list []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// isatap reports whether the second half of an address says that the last four bytes
// are where the tunnel ends (RFC 5214 section 6.1).
func isatap(ip netip.Addr) bool {
	b := ip.As16()
	return ip.Is6() && b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// usable reports whether a service can be at an address, loopback aside.
func usable(ip netip.Addr) bool {
	return !ip.IsMulticast() && !within(reserved, ip) && (ip.Is4() || within(unicast, ip) && !isatap(ip))
}

var errNotBare = errors.New("brackets that are not around an IPv6 address")

// address returns the address to connect to, or why there is none.
func (c *compilation) address(instance *discovery.Instance) (string, *flaw) {
	if f := incomplete(instance); f != nil {
		return "", f
	}
	ip, err := netip.ParseAddr(instance.Address)
	if inner, ok := strings.CutPrefix(instance.Address, "["); ok {
		// As IPv6 addresses are written in URLs, and copied into service blocks.
		if ip, err = netip.ParseAddr(strings.TrimSuffix(inner, "]")); err == nil && (ip.Is4() || !strings.HasSuffix(inner, "]")) {
			err = errNotBare
		}
	}
	if err != nil || ip.Zone() != "" {
		return "", &flaw{fmt.Sprintf("address %s is not an IP address", quote(instance.Address)), "an IP address; serai does not resolve names"}
	}
	ip = ip.Unmap()
	address := netip.AddrPortFrom(ip, uint16(instance.Port))
	if f := c.place(instance, address); f != nil {
		return "", f
	}
	return address.String(), nil
}

// incomplete says what an instance lacks of an address, nil for nothing, and what is to be
// written where it is registered.
func incomplete(instance *discovery.Instance) *flaw {
	noPort := instance.Port < 1 || instance.Port > 65535
	if !noPort && instance.Address != "" {
		return nil
	}
	why := "the instance has no address"
	if noPort {
		why = fmt.Sprintf("the instance has port %d", instance.Port)
	}
	switch byJob := instance.Namespace != discovery.ConsulNamespace || instance.Alloc != ""; {
	case instance.ByHand() && noPort:
		return &flaw{why, `"Port": 8080, or whichever it listens on, in the file of --services`}
	case instance.ByHand():
		return &flaw{why, `"Address": with the instance's IP address in the file of --services`}
	case byJob && noPort:
		return &flaw{why, `port = "http" in the service block, and port "http" {} in the network block of its group`}
	case byJob:
		// Nomad does not know the address of a port that it has not allocated.
		return &flaw{fmt.Sprintf("%s: Nomad registers none for a port that is written as a number, as in port = \"%d\"", why, instance.Port),
			fmt.Sprintf(`port = "http" in the service block, and port "http" { static = %d } in the network block of its group (to = %[1]d in place of static, if that is the port within a container); `+
				`or, where no network block is wanted, address = "${attr.unique.network.ip-address}" beside the number`, instance.Port)}
	case noPort:
		return &flaw{why, "port = 8080, or whichever it listens on, in the service's registration in Consul"}
	}
	return &flaw{why + ": neither its registration in Consul has one, nor its node there", "address = \"...\" with the instance's IP address in the service's registration in Consul"}
}

// elsewhere reports whether an instance is known to run on another node.
func (o *Options) elsewhere(instance *discovery.Instance) bool {
	here := o.Node
	if instance.Namespace == discovery.ConsulNamespace {
		here = cmp.Or(o.ConsulNode, o.Node) // which no node of Consul has for its name
	}
	return here != "" && instance.Node != here
}

// reachable is what to write in place of a loopback.
func (o *Options) reachable(instance *discovery.Instance) string {
	const advice = "an address that other nodes reach"
	if instance.Namespace == discovery.ConsulNamespace && o.ConsulNode == "" {
		return advice + "; if it runs on serai's own node, the operator tells serai that node's name in Consul (--consul-node)"
	}
	return advice
}

// place says why an instance may not be at an address, nil when it may.
func (c *compilation) place(instance *discovery.Instance, address netip.AddrPort) *flaw {
	ip := address.Addr()
	meant := ip // the IPv4 address that a NAT64 translator would use
	if nat64.Contains(ip) {
		b := ip.As16()
		meant = netip.AddrFrom4([4]byte(b[12:]))
	}
	reached := netip.AddrPortFrom(meant, address.Port())
	placed := !instance.ByHand()
	switch o := &c.options; {
	case within(metadata, meant) || meant.IsLinkLocalUnicast():
		return &flaw{fmt.Sprintf("address %s is one of a cloud's metadata services, or link-local", ip), "a unicast address that is the same machine for every node"}
	case meant != ip && meant.IsLoopback() || !ip.IsLoopback() && !usable(meant):
		return &flaw{fmt.Sprintf("address %s is not one that a service can have", ip), "a unicast address that is the same machine for every node"}
	case len(o.Networks) > 0 && !within(o.Networks, ip):
		return &flaw{fmt.Sprintf("address %s is in none of the networks that the operator allows for instances", ip), "an address within one of them (--upstream-networks)"}
	case ip.IsLoopback() && placed && o.elsewhere(instance):
		return &flaw{fmt.Sprintf("address %s is the loopback of another node", ip), o.reachable(instance)}
	case ip.IsLoopback() && placed && o.NoLoopback && len(o.Networks) == 0:
		return &flaw{fmt.Sprintf("address %s is the loopback of whichever node a request enters", ip), "an address that other nodes reach; the operator can allow it with --upstream-networks"}
	case placed && (o.Consul != nil && o.Consul(reached) || instance.Namespace == discovery.ConsulNamespace && slices.Contains(consulPorts, int(address.Port()))):
		return &flaw{fmt.Sprintf("port %d is one of Consul's own", address.Port()), "the port of the service; an operator who wants to publish Consul puts it into the file of --services"}
	case placed && (slices.Contains(nomadPorts, int(address.Port())) || o.Nomad(reached)):
		return &flaw{fmt.Sprintf("port %d is one of Nomad's own", address.Port()), "the port of the service; an operator who wants to publish Nomad puts it into the file of --services"}
	}
	if own := c.options.Own(reached); own != "" {
		return &flaw{fmt.Sprintf("address %s is %s of this serai itself", address, own), "the address of an instance; requests would come back here for ever"}
	}
	return nil
}
