package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// ClientGroup is what some names demand of clients.
type ClientGroup struct {
	// Name identifies it.
	Name string
	// CAs sign the certificates of its clients.
	CAs *x509.CertPool
	// Auth is tls.RequireAndVerifyClientCert, or tls.VerifyClientCertIfGiven.
	Auth tls.ClientAuthType
}

// Clients says which names demand a client certificate. Nil means none do. Immutable.
type Clients struct {
	exact, below map[string]*ClientGroup // below: what follows "*."
	all          []*ClientGroup
}

// ClientRule makes hosts demand client certificates that a CA has signed.
// "*.example.org" means all names of one more label.
type ClientRule struct {
	Hosts  []string
	CAFile string
	// Optional also admits clients without a certificate.
	Optional bool
}

// NewClients reads rules. The error has everything that is wrong.
func NewClients(rules []ClientRule) (*Clients, error) {
	if len(rules) == 0 {
		return nil, nil
	}
	c := &Clients{exact: make(map[string]*ClientGroup), below: make(map[string]*ClientGroup)}
	var errs []error
	for _, r := range rules {
		g := &ClientGroup{Name: strings.Join(r.Hosts, ","), Auth: tls.RequireAndVerifyClientCert, CAs: x509.NewCertPool()}
		if r.Optional {
			g.Auth = tls.VerifyClientCertIfGiven
		}
		content, err := readBounded(r.CAFile)
		if err == nil && !appendCAs(g.CAs, content) {
			err = fmt.Errorf("read %s: it has no certificate in PEM", r.CAFile)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("client certificates of %s: %w", g.Name, err))
		}
		for _, host := range r.Hosts {
			into, name := c.exact, normal(host)
			if suffix, wild := strings.CutPrefix(name, "*."); wild {
				into, name = c.below, suffix
			}
			if !demandable(host, name) {
				errs = append(errs, fmt.Errorf("client certificates: %q is not a host name in ASCII; an international name is written as DNS has it (xn--...)", host))
			}
			if into[name] != nil {
				errs = append(errs, fmt.Errorf("client certificates: %q is named twice", host))
			}
			into[name] = g
		}
		c.all = append(c.all, g)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// demandable reports whether a host of a rule, in its normal form, can be the name of a
// connection. A rule for any other would demand nothing of anybody, without a word. Lower
// case makes ASCII of some letters that are not: so both forms count.
func demandable(host, normal string) bool {
	return normal != "" && isName(strings.TrimPrefix(host, "*.")) && isName(normal) &&
		normal[0] != '.' && !strings.HasSuffix(normal, ".") && !strings.Contains(normal, "..")
}

func (c *Clients) groups() []*ClientGroup {
	if c == nil {
		return nil
	}
	return c.all
}

// group returns what a name demands, nil for nothing.
func (c *Clients) group(name string) *ClientGroup {
	if c == nil {
		return nil
	}
	if g := c.exact[name]; g != nil {
		return g
	}
	if i := strings.IndexByte(name, '.'); i > 0 {
		return c.below[name[i+1:]]
	}
	return nil
}
