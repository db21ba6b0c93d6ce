package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"

	"serai/wire"
)

// ErrIPDenied is the answer to a client whose address a route's allow or deny refuses.
var ErrIPDenied = &wire.Error{Status: 403, Code: "ip-denied", Detail: "the client's address is not allowed on this route"}

// Addresses is a set of networks and single addresses. Never modified, and shared by all
// routes of a definition.
type Addresses struct {
	// written are the entries in the order of their tag. An IPv4-mapped IPv6 address is
	// its IPv4 address here.
	written []netip.Prefix
	set     *netipx.IPSet
}

// equal reports whether two sets are written alike; nil is none.
func (a *Addresses) equal(b *Addresses) bool {
	return a == b || a != nil && b != nil && slices.Equal(a.written, b.written)
}

// ParseAddresses reads networks, such as 10.0.0.0/8, and single addresses. Whatever could
// mean something else than its author thinks is refused: bits behind the length of a
// network, and a network of all addresses. Who reads the list bounds it. The error is a *Mistake.
func ParseAddresses(entries []string) (*Addresses, error) {
	a := &Addresses{written: make([]netip.Prefix, 0, len(entries))}
	var b netipx.IPSetBuilder
	for _, entry := range entries {
		p, err := parseNetwork(entry)
		if err != nil {
			return nil, err
		}
		a.written = append(a.written, p)
		b.AddPrefix(p)
	}
	set, err := b.IPSet()
	if err != nil {
		return nil, &Mistake{Why: err.Error()}
	}
	a.set = set
	return a, nil
}

// parseNetwork reads one entry.
func parseNetwork(entry string) (netip.Prefix, error) {
	none := netip.Prefix{}
	if !strings.Contains(entry, "/") {
		addr, err := netip.ParseAddr(entry)
		switch {
		case err != nil:
			return none, &Mistake{Why: fmt.Sprintf("%q is neither an address nor a network", entry), Instead: "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1"}
		case addr.Zone() != "":
			return none, &Mistake{Why: fmt.Sprintf("address %q has a zone, which means another network on each node", entry), Instead: addr.WithZone("").String()}
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(entry)
	if err != nil {
		return none, &Mistake{Why: fmt.Sprintf("%q is neither an address nor a network", entry), Instead: "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1"}
	}
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	switch {
	case p.Bits() == 0:
		return none, &Mistake{Why: fmt.Sprintf("%q is every address", entry), Instead: "smaller networks, or none of this key"}
	case p != p.Masked():
		return none, &Mistake{Why: fmt.Sprintf("%q has bits behind its length", entry), Instead: p.Masked().String() + ", or " + p.Addr().String() + " for the one address"}
	}
	return p, nil
}

// Contains reports whether the address is in the set. It is false for one that is not
// valid.
func (a *Addresses) Contains(addr netip.Addr) bool { return a.set.Contains(addr) }

// String returns the entries as their tag writes them.
func (a *Addresses) String() string { return strings.Join(a.entries(), ",") }

// entries returns each entry as a tag writes it.
func (a *Addresses) entries() []string {
	all := make([]string, len(a.written))
	for i, p := range a.written {
		if all[i] = p.String(); p.IsSingleIP() {
			all[i] = p.Addr().String()
		}
	}
	return all
}

// explain describes the set in a few words.
func (a *Addresses) explain() string { return someOf(a.entries()) }

// addresses lets only some clients through. What is denied is denied, also where it is
// allowed; and a client whose address is not known is not among those that are.
type addresses struct{ allow, deny *Addresses }

var _ RequestPolicy = (*addresses)(nil)

func compileAddresses(o *OfRoute) Policy {
	if o.Allow == nil && o.Deny == nil {
		return nil
	}
	return &addresses{o.Allow, o.Deny}
}

// Request implements RequestPolicy.
func (p *addresses) Request(r Request, reply *Reply) (answered bool) {
	client := r.ClientAddr()
	switch {
	case !client.IsValid():
	case p.deny != nil && p.deny.Contains(client):
	case p.allow != nil && !p.allow.Contains(client):
	default:
		return false
	}
	reply.refuse(ErrIPDenied)
	return true
}

// Explain implements Policy.
func (p *addresses) Explain() string {
	var parts []string
	if p.deny != nil {
		parts = append(parts, "clients from "+p.deny.explain()+" are refused")
	}
	if p.allow != nil {
		only := "only those from "
		if p.deny == nil {
			only = "only clients from "
		}
		parts = append(parts, only+p.allow.explain()+" are let through")
	}
	key := "allow: "
	if p.allow == nil {
		key = "deny: "
	}
	return key + strings.Join(parts, ", and of the others ")
}
