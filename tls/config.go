package tls

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// ACMEProtocol is the ALPN protocol of a CA that validates a name (RFC 8737). The
// connection carries nothing else.
const ACMEProtocol = "acme-tls/1"

// ConfigOptions are the settings of a listener.
type ConfigOptions struct {
	// Protocols are offered by ALPN, in this order.
	Protocols []string
	// MinVersion is tls.VersionTLS12 or tls.VersionTLS13; TLS 1.2 when zero.
	MinVersion uint16
	// Clients says which names demand a client certificate; nil for none.
	Clients *Clients
	// Challenge returns the certificate that answers a CA's TLS-ALPN-01 validation of a
	// name, nil for names that are not being validated. Nil answers none.
	Challenge func(name string) *tls.Certificate
}

// cipherSuites are those of TLS 1.2 in Mozilla's intermediate profile: forward secrecy and
// AEAD only. Never changed.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// Config returns the TLS settings of a listener: TLS 1.2 and 1.3 with the cipher suites
// and curves that Go considers secure, which Mozilla's intermediate profile contains,
// and certificates from the current table. A name without a certificate is refused with
// the alert unrecognized_name (RFC 6066 section 3).
func (s *Store) Config(o ConfigOptions) *tls.Config {
	base := &tls.Config{
		MinVersion:   max(o.MinVersion, tls.VersionTLS12),
		CipherSuites: cipherSuites,
		NextProtos:   o.Protocols,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := s.Current().Lookup(hello.ServerName); c != nil {
				return &c.Certificate, nil
			}
			s.unknown.Add(1)
			return nil, nil // the library then sends unrecognized_name
		},
	}
	server := &serverConfig{base: base, byGroup: make(map[*ClientGroup]*tls.Config)}
	for _, g := range o.Clients.groups() {
		c := base.Clone()
		c.ClientAuth, c.ClientCAs = g.Auth, g.CAs
		server.byGroup[g] = c
	}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		name := HostName(hello.ServerName)
		if !isName(name) {
			s.unknown.Add(1)
			return nobody, nil
		}
		if o.Challenge != nil && slices.Contains(hello.SupportedProtos, ACMEProtocol) {
			return challengeConfig(o.Challenge(hello.ServerName)), nil
		}
		return server.of(o.Clients.group(normal(name))), nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.configs = append(s.configs, server)
	server.setTickets(s.tickets)
	return base
}

// nobody has no certificate, and cannot open any session ticket.
var nobody = &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}

// HostName returns the server name of a connection, which is none where it is an address:
// those are no names (RFC 6066 section 3), and some clients send them.
func HostName(sent string) string {
	if _, err := netip.ParseAddr(sent); err == nil {
		return ""
	}
	return sent
}

// isName reports whether a server name can be a host name (RFC 6066 section 3). The
// library accepts any bytes. A port at its end, for one, would be another name here but
// the same name in routing.
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return !strings.HasSuffix(s, "..")
}

func challengeConfig(c *tls.Certificate) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{ACMEProtocol}, SessionTicketsDisabled: true}
	if c != nil {
		config.Certificates = []tls.Certificate{*c}
	}
	return config
}

// Shares reports whether a request for a host may come over a connection that was
// opened for the server name: both have the same certificate, or it also covers the
// host, and both demand the same of clients (RFC 9110 section 15.5.20). A connection
// without a server name, or without TLS, serves all hosts that demand nothing of
// clients.
func (s *Store) Shares(clients *Clients, secure bool, serverName, host string) bool {
	if !secure && clients == nil {
		return true
	}
	serverName, host = normal(serverName), normal(withoutPort(host))
	if secure && serverName == host {
		return true
	}
	if clients.group(serverName) != clients.group(host) {
		return false
	}
	if serverName == "" {
		return true
	}
	t := s.Current()
	c := t.Lookup(serverName)
	return c == nil || c == t.Lookup(host) || c.Covers(host)
}

func withoutPort(host string) string {
	if !strings.Contains(host, ":") { // the error would be made anew each time
		return host
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return host
}
