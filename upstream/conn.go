package upstream

import (
	"net"
	"strings"
	"time"

	"serai/wire"
	"serai/wire/socket"
)

// Conn is a connection to an Endpoint. It is either put back with Put or
// closed, once.
type Conn struct {
	socket.Conn
	Endpoint *Endpoint
	// Reused says that it has been idle.
	Reused bool
	// Idled is for how long, 0 for a new one.
	Idled time.Duration

	// serverName is what it was opened for, in lower case; empty without TLS.
	serverName string
	// announced is how long the instance says that it keeps the connection while
	// it is idle, less what a request needs to arrive; 0 when it says nothing,
	// negative when not at all.
	announced time.Duration
	idleSince time.Time
}

func newConn(nc net.Conn, e *Endpoint, serverName string) *Conn {
	c := &Conn{Endpoint: e, serverName: serverName}
	c.Init(nc)
	return c
}

// carries reports whether c was opened for what a request for host needs.
func (c *Conn) carries(host []byte) bool {
	if c.serverName == "" || c.Endpoint.target.TLSName != "" {
		return true
	}
	return wire.EqualFold(hostname(host), c.serverName)
}

// hostname returns host without its port, the brackets of an IPv6 address and
// the dot at the end, as certificates have it.
func hostname[T string | []byte](host T) T {
	s := host
	if n := len(s); n > 0 && s[0] == '[' {
		for i := range n {
			if s[i] == ']' {
				return s[1:i]
			}
		}
		return s
	}
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ':' {
			s = s[:i]
			break
		}
	}
	if n := len(s); n > 0 && s[n-1] == '.' {
		s = s[:n-1]
	}
	return s
}

// Hostname returns a Host without its port, as a certificate has it.
func Hostname(host string) string { return hostname(host) }

// serverName is what a connection for host is opened for: what the tags name,
// else the host of the request or of the check, else the address.
func (t *Target) serverName(host string) string {
	if t.Scheme != HTTPS {
		return ""
	}
	for _, name := range [...]string{t.TLSName, hostname(host)} {
		if name != "" {
			return strings.ToLower(name)
		}
	}
	return hostname(t.Address)
}
