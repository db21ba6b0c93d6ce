package consul

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"serai/internal/agentapi"
	"serai/internal/boundedhttp"
)

// DefaultAddress is the default address of an agent.
const DefaultAddress = "http://127.0.0.1:8500"

// Options say which agent to talk to, with which token, and with which limits. The zero
// Options talk to DefaultAddress without a token.
type Options struct {
	// Address is HOST:PORT, http://HOST:PORT, https://HOST:PORT or unix:///PATH. Empty means
	// DefaultAddress.
	Address string
	// Datacenter is the one whose services are read; empty means the agent's own.
	Datacenter string
	// Token is sent with every request if TokenFile gives none.
	Token string
	// TokenFile is read again for every request. While it cannot be read, its last content
	// is sent; if it never could be read, Token is.
	TokenFile string
	// User and Password are for a proxy in front of the agent that wants them.
	User, Password string
	TLS            TLS
	Limits         Limits
	// Logger may be nil: then nothing is logged. Tokens are never logged.
	Logger *slog.Logger
	// OnRequest is called once for each request sent, when its answer was completely read.
	// An invalid answer is an error. The kind is one of the Kind constants. It must not
	// block. Nil means no call.
	OnRequest func(kind string, err error)
}

// TLS says how an https address is verified and which client certificate is sent. Fields
// are paths of PEM files, as in the consul command's CONSUL_CACERT etc.
type TLS struct {
	CACert     string
	CAPath     string
	ClientCert string
	ClientKey  string
	ServerName string
	SkipVerify bool
}

// Limits bound answers and waits. A zero field means its default.
type Limits struct {
	// Answer is the largest answer in bytes, uncompressed: 64 MiB.
	Answer int64
	// Request is how long an answer may take to arrive completely, on top of the time a
	// blocking query asks the agent to wait: 10 s.
	Request time.Duration
	// Connections is how many idle connections to the agent are kept: 32.
	Connections int
}

func (l Limits) withDefaults() Limits {
	l.Answer = cmp.Or(l.Answer, 64<<20)
	l.Request = cmp.Or(l.Request, 10*time.Second)
	l.Connections = cmp.Or(l.Connections, 32)
	return l
}

// Validate reports everything that is wrong with o at once, or nil. It reads no file but
// checks whether the named ones exist.
func (o Options) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseAddress(o.Address); err != nil {
		errs = append(errs, err)
	}
	if (o.TLS.ClientCert == "") != (o.TLS.ClientKey == "") {
		refuse("consul client certificate: certificate %q and key %q; set both (CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY) or neither", o.TLS.ClientCert, o.TLS.ClientKey)
	}
	for _, file := range []struct{ what, path string }{
		{"CA certificate (CONSUL_CACERT)", o.TLS.CACert},
		{"CA directory (CONSUL_CAPATH)", o.TLS.CAPath},
		{"client certificate (CONSUL_CLIENT_CERT)", o.TLS.ClientCert},
		{"client key (CONSUL_CLIENT_KEY)", o.TLS.ClientKey},
	} {
		if file.path == "" {
			continue
		}
		if _, err := os.Stat(file.path); err != nil {
			refuse("consul %s: %w", file.what, err)
		}
	}
	if !agentapi.Plausible(strings.TrimSpace(o.Token)) {
		// The token itself is not shown, not even a bad one.
		refuse("consul token: it contains white space, or what is not ASCII; want the bare secret ID")
	}
	for _, limit := range []struct {
		what  string
		value int64
	}{{"Answer", o.Limits.Answer}, {"Request", int64(o.Limits.Request)}, {"Connections", int64(o.Limits.Connections)}} {
		if limit.value < 0 {
			refuse("consul limit %s: %d is negative; want 0 for the default, or more", limit.what, limit.value)
		}
	}
	return errors.Join(errs...)
}

// parseAddress reads an address, of which Consul's own programs take HOST:PORT as well.
func parseAddress(s string) (agentapi.Address, error) {
	s = cmp.Or(s, DefaultAddress)
	if !strings.Contains(s, "://") && !strings.HasPrefix(s, "unix:") {
		s = "http://" + s
	}
	return agentapi.ParseAddress("consul", s)
}

// newTransport returns a transport for one agent.
func newTransport(a agentapi.Address, t TLS, connections int) (*http.Transport, error) {
	tr := agentapi.NewTransport(a, connections)
	if a.Base.Scheme != "https" {
		return tr, nil
	}
	tr.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify}
	if t.CACert != "" || t.CAPath != "" {
		if err := boundedhttp.FreshRoots(tr, t.roots); err != nil {
			return nil, fmt.Errorf("set up TLS for consul at %s: %w", a.Base.Host, err)
		}
	}
	if t.ClientCert != "" {
		boundedhttp.FreshCertificate(tr.TLSClientConfig, "consul", t.ClientCert, t.ClientKey)
	}
	return tr, nil
}

// roots are the authorities in CACert, or else in all files of CAPath, as they are now.
func (t TLS) roots() (*x509.CertPool, error) {
	files := []string{t.CACert}
	if t.CACert == "" {
		entries, err := os.ReadDir(t.CAPath)
		if err != nil {
			return nil, err
		}
		files = nil
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(t.CAPath, e.Name()))
			}
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if pool.AppendCertsFromPEM(text) {
			found = true
		} else if file == t.CACert {
			return nil, fmt.Errorf("%s has no certificate in PEM form", file)
		}
	}
	if !found {
		return nil, fmt.Errorf("no file in %s has a certificate in PEM form", t.CAPath)
	}
	return pool, nil
}
