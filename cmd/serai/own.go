package main

import (
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ownAddresses knows at which addresses this serai listens. A service that is
// registered there would make a loop, or publish the admin address.
type ownAddresses struct {
	listeners []ownListener
	// agent is Nomad's, consulAgent is Consul's.
	agent, consulAgent agentAddress

	mu         sync.Mutex
	interfaces map[netip.Addr]bool
	read       time.Time
}

// ownListener is one address that is listened on, and what for.
type ownListener struct {
	name    string
	address netip.AddrPort
}

// interfacesFor is how long the addresses of this machine are not asked for
// again.
const interfacesFor = 5 * time.Second

func (o *ownAddresses) add(name string, l net.Listener) {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		p := a.AddrPort()
		o.listeners = append(o.listeners, ownListener{name, netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())})
	}
}

// name returns which listener answers at a, empty for none.
func (o *ownAddresses) name(a netip.AddrPort) string {
	for _, l := range o.listeners {
		if a.Port() != l.address.Port() {
			continue
		}
		if a.Addr() == l.address.Addr() || l.address.Addr().IsUnspecified() && o.local(a.Addr()) {
			return "the listener " + l.name
		}
	}
	return ""
}

// agentAddress is where NOMAD_ADDR says that Nomad's agent is, or --consul that Consul's
// is. The zero value is nowhere: a socket.
type agentAddress struct {
	host netip.Addr // not valid for a name
	here bool       // on this machine
	port uint16
}

// agentAt reads the address of a client. Names are not resolved, but for those of this
// machine.
func agentAt(address string) (a agentAddress) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "unix" {
		return a
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	n, _ := strconv.ParseUint(port, 10, 16) // which the client has checked
	host, err := netip.ParseAddr(u.Hostname())
	a.port = uint16(n)
	if err == nil {
		a.host = host.Unmap().WithZone("")
	} else {
		name, _ := os.Hostname()
		a.here = strings.EqualFold(u.Hostname(), "localhost") || strings.EqualFold(u.Hostname(), name)
	}
	return a
}

// nomad reports whether Nomad's agent answers at a, consul whether Consul's does.
func (o *ownAddresses) nomad(a netip.AddrPort) bool  { return o.answers(o.agent, a) }
func (o *ownAddresses) consul(a netip.AddrPort) bool { return o.answers(o.consulAgent, a) }

// answers reports whether an agent answers at a. One of this machine that is reached over
// one of its addresses may listen on all of them.
func (o *ownAddresses) answers(g agentAddress, a netip.AddrPort) bool {
	if a.Port() != g.port || g.port == 0 {
		return false
	}
	return a.Addr() == g.host || (g.here || g.host.IsValid() && o.local(g.host)) && o.local(a.Addr())
}

// local reports whether an address is this machine's.
func (o *ownAddresses) local(a netip.Addr) bool {
	if a.IsLoopback() {
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.read) > interfacesFor {
		o.interfaces, o.read = make(map[netip.Addr]bool), time.Now()
		addrs, _ := net.InterfaceAddrs() // without them the loop is found by its hops
		for _, ia := range addrs {
			if n, ok := ia.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					o.interfaces[ip.Unmap()] = true
				}
			}
		}
	}
	return o.interfaces[a]
}

// nodeHasAddress reports whether Nomad says that this node's address is another
// than loopback, as it does in a task that has one of our job files' ports. Then
// no service of the cluster is meant by a loopback address.
func nodeHasAddress(getenv func(string) string) bool {
	for _, label := range []string{"http", "https", "admin"} {
		if ip, err := netip.ParseAddr(getenv("NOMAD_IP_" + label)); err == nil {
			return !ip.IsLoopback()
		}
	}
	return false
}
