package main

import (
	"cmp"
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"serai/admin"
	"serai/internal/atomicfile"
	"serai/internal/boundedhttp"
	"serai/nomad"
	"serai/router"
	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// obtainer obtains certificates: *acme.Issuer, or *acme.Autocert.
type obtainer interface {
	admin.Obtainer
	Run(context.Context) error
	Changed()
	AnswerHTTP(host, path string) (answer string, ok bool)
	AnswerTLS(name string) *cryptotls.Certificate
}

// limitFlags are those of what a CA takes of one account.
type limitFlags struct {
	MaxOrders       int     `name:"acme-max-orders" default:"300" help:"Rate limit of the CA: orders of an account in 3 hours, a fifth of them reserved for renewals; 0 for no limit. The default is Let's Encrypt's." group:"HTTPS"`
	MaxDomain       int     `name:"acme-max-domain" default:"50" help:"Rate limit of the CA: new certificates for a registered domain in 7 days; 0 for no limit. The default is Let's Encrypt's." group:"HTTPS"`
	MaxFailures     int     `name:"acme-max-failures" default:"5" help:"Rate limit of the CA: failed validations of a host in an hour; 0 for no limit. The default is Let's Encrypt's." group:"HTTPS"`
	MaxCertificates int     `name:"acme-max-certificates" default:"10000" help:"Certificates in the store at most; new hosts get none beyond; 0 for no limit." group:"HTTPS"`
	NamespaceShare  float64 `name:"acme-namespace-share" default:"0.5" help:"Share of --acme-max-orders, --acme-max-domain and --acme-max-certificates that hosts of one namespace without a certificate may take, unless no other namespace wants certificates." group:"HTTPS"`
}

func (f limitFlags) limits() acme.Limits {
	return acme.Limits{Orders: f.MaxOrders, Domain: f.MaxDomain, Failures: f.MaxFailures, Certificates: f.MaxCertificates, NamespaceShare: f.NamespaceShare}
}

// certPrefix is what the paths of Nomad Variables begin with, as in serai's
// policy.
const certPrefix = "serai"

// hasCertificates reports whether certificates come from somewhere.
func (c *serveCommand) hasCertificates() bool {
	return c.CertDir != "" || c.ACMEEmail != "" || c.CertStore != ""
}

// validateCertificates reports what is wrong with the flags about
// certificates.
func (c *serveCommand) validateCertificates() (errs []error) {
	if c.ACMEEmail == "" {
		for _, f := range []struct {
			name string
			set  bool
		}{
			{"acme-directory", c.ACMEDirectory != ""}, {"acme-ca-root", c.ACMECARoot != ""}, {"acme-engine", c.ACMEEngine == "autocert"},
			{"acme-hosts", len(c.ACMEHosts) > 0}, {"acme-eab-key-id", c.ACMEEABKeyID != ""}, {"acme-eab-key-file", c.ACMEEABFile != ""},
		} {
			if f.set {
				errs = append(errs, fmt.Errorf("--%s is set, but no certificate is ordered without --acme-email", f.name))
			}
		}
	}
	switch {
	case c.ACMEEngine != "autocert":
	case c.CertStore == "nomad":
		errs = append(errs, errors.New("--acme-engine=autocert is for one node and keeps its certificates in --state-dir: each node of a cluster would order them all; use certmagic, or --cert-store=file"))
	case c.CertKeyFile != "":
		errs = append(errs, errors.New("--acme-engine=autocert does not encrypt keys: remove --cert-key-file"))
	}
	if c.CertKeyFile != "" && c.ACMEEmail == "" && c.CertStore == "" {
		errs = append(errs, errors.New("--cert-key-file is set, but no store is in use: set --acme-email or --cert-store"))
	}
	if len(c.file.clientRules) > 0 && !c.hasCertificates() {
		errs = append(errs, errors.New("client_certificates are demanded, but there is no certificate to speak TLS with: set --cert-dir or --acme-email"))
	}
	return errs
}

// openCertificates makes what has to do with certificates. The settings have
// been validated, each by itself.
func (s *system) openCertificates() error {
	if !s.hasCertificates() {
		return nil
	}
	s.certs = tls.NewStore()
	var errs []error
	if s.CertDir != "" {
		if _, err := os.ReadDir(s.CertDir); err != nil {
			errs = append(errs, fmt.Errorf("--cert-dir=%s: %w", s.CertDir, err))
		}
	}
	var err error
	s.clients, err = tls.NewClients(s.file.clientRules)
	errs = append(errs, err)
	if s.ACMEEmail != "" || s.CertStore != "" {
		s.obtain, err = s.newObtainer()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// newObtainer makes what obtains certificates.
func (s *system) newObtainer() (obtainer, error) {
	o := acme.Options{
		Read:         s.awaited(),
		Certificates: s.certs, Email: s.ACMEEmail, Directory: s.ACMEDirectory, KeyID: s.ACMEEABKeyID,
		HTTPAddress: s.HTTP, TLSAddress: s.HTTPS, Allowed: s.ACMEHosts, Logger: s.logger,
		Name:   leaderName(s.env.getenv),
		Hosts:  func() []acme.Host { return wantedHosts(s.router.Current()) },
		Limits: s.ACMELimits.limits(),
		Wants:  func(host string) bool { return s.router.Current().WantsCertificate(host) },
	}
	var err error
	if s.ACMECARoot != "" {
		o.CARoots = func() (*x509.CertPool, error) { return boundedhttp.ReadRoots(s.ACMECARoot) }
		if _, err = o.CARoots(); err != nil {
			return nil, fmt.Errorf("--acme-ca-root: %w", err)
		}
	}
	mac, err := readSecret("acme-eab-key-file", s.ACMEEABFile)
	if err != nil {
		return nil, err
	}
	o.MACKey = string(mac)
	if s.ACMEEngine == "autocert" {
		switch {
		case s.CertStore == "" && s.env.getenv("NOMAD_ALLOC_ID") != "":
			return nil, errors.New("--acme-engine=autocert is for one node, and each node of a system job would order every certificate: use certmagic, or say --cert-store=file if this is the only one")
		case s.StateDir == "":
			return nil, errors.New("--acme-engine=autocert keeps certificates in --state-dir: set it")
		}
		dir, err := stateDirectory(s.StateDir, "autocert")
		if err != nil {
			return nil, err
		}
		return newObtained(acme.NewAutocert(o, dir))
	}
	if o.Sealer, err = newSealer(s.CertKeyFile); err != nil {
		return nil, err
	}
	if o.Store, err = openStore(s.CertStore, s.StateDir, s.client, s.env.getenv); err != nil {
		return nil, err
	}
	if variables, ok := o.Store.(*certstore.Variables); ok {
		variables.Logger, s.shared = s.logger, true
		if s.ACMEPeers != "" && s.HTTP != "" {
			o.Peers, o.PeerWait = s.peers, max(s.ACMEPeersWait.value(), time.Millisecond)
		}
		if s.StateDir != "" {
			if o.Local, err = newDirectory(s.StateDir); err != nil {
				return nil, err
			}
		}
	}
	return newObtained(acme.New(o))
}

// peers returns the serai that Nomad knows as running. Only what Nomad says of
// them counts: one with old flags knows nothing of the others. An empty list is
// believed, since it is the servers' leader who is asked: then nobody is waited
// for.
func (s *system) peers(ctx context.Context) (all []acme.Peer, err error) {
	registered, _, err := s.client.Service(ctx, s.ACMEPeers, nomad.Query{Namespace: s.env.getenv("NOMAD_NAMESPACE")})
	if err != nil {
		return nil, err
	}
	for _, r := range registered {
		if ip, err := netip.ParseAddr(r.Address); err == nil && r.Port > 0 && r.Port <= math.MaxUint16 {
			all = append(all, acme.Peer{ID: r.ID, Address: netip.AddrPortFrom(ip, uint16(r.Port)).String()})
		}
	}
	slices.SortFunc(all, func(a, b acme.Peer) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// newObtained keeps a nil pointer from becoming an interface that is not nil.
func newObtained[T obtainer](o T, err error) (obtainer, error) {
	if err != nil {
		return nil, err
	}
	return o, nil
}

// openStore opens the store of certificates that a flag names, or the default
// one.
func openStore(kind, stateDir string, client *nomad.Client, getenv func(string) string) (certstore.Store, error) {
	if kind == "" {
		kind = "file"
		if client != nil && getenv("NOMAD_ALLOC_ID") != "" {
			kind = "nomad"
		}
	}
	switch {
	case kind == "nomad" && client == nil:
		return nil, errors.New("--cert-store=nomad needs Nomad: leave --no-nomad out")
	case kind == "nomad":
		return &certstore.Variables{Client: client, Namespace: getenv("NOMAD_NAMESPACE"), Prefix: certPrefix}, nil
	case stateDir == "":
		return nil, errors.New("--cert-store=file keeps certificates in --state-dir: set it, or --cert-store=nomad")
	}
	return newDirectory(stateDir)
}

// certificatesDir is where certificates are in the state directory.
const certificatesDir = "certificates"

// newDirectory opens the files of certificates in the state directory.
func newDirectory(stateDir string) (*certstore.Directory, error) {
	dir, err := stateDirectory(stateDir, certificatesDir)
	if err != nil {
		return nil, err
	}
	return certstore.NewDirectory(dir)
}

// stateDirectory makes a directory in the state directory. Others may write to
// neither: they could replace the one in the other.
func stateDirectory(stateDir, name string) (string, error) {
	dir := filepath.Join(stateDir, name)
	for _, d := range []string{stateDir, dir} {
		if err := atomicfile.Directory(d); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
	}
	return dir, nil
}

func newSealer(file string) (*certstore.Sealer, error) {
	secret, err := readSecret("cert-key-file", file)
	if err != nil || secret == nil {
		return nil, err
	}
	return certstore.NewSealer(secret)
}

// leaderName tells which serai this is.
func leaderName(getenv func(string) string) string {
	host, _ := os.Hostname()
	if alloc := getenv("NOMAD_ALLOC_ID"); alloc != "" {
		return cmp.Or(getenv("NOMAD_SHORT_ALLOC_ID"), alloc[:min(len(alloc), 8)]) + " on " + host
	}
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// wantedHosts returns the exact hosts whose routes want a certificate, sorted,
// each for the oldest claim that does.
func wantedHosts(t *router.Table) (hosts []acme.Host) {
	var oldest uint64
	for _, r := range t.Routes() { // sorted by host
		if r.Options.TLS == router.TLSOff || strings.Contains(r.Host, "*") {
			continue
		}
		h := acme.Host{Name: r.Host, Namespace: r.Namespace, Service: r.Service}
		switch last := len(hosts) - 1; {
		case last < 0 || hosts[last].Name != r.Host:
			hosts, oldest = append(hosts, h), r.CreateIndex
		case r.CreateIndex < oldest:
			hosts[last], oldest = h, r.CreateIndex
		}
	}
	return hosts
}

// tlsOptions are those of the HTTPS listener.
func (s *system) tlsOptions() tls.ConfigOptions {
	// A client of HTTP/1.0 may offer nothing else, as curl 7.88 to 8.4 does with --http1.0.
	o := tls.ConfigOptions{Protocols: []string{"http/1.1", "http/1.0"}, MinVersion: cryptotls.VersionTLS12, Clients: s.clients}
	if s.HTTP2 == "on" {
		o.Protocols = slices.Insert(o.Protocols, 0, "h2")
	}
	if s.TLSMinVersion == "1.3" {
		o.MinVersion = cryptotls.VersionTLS13
	}
	if s.obtain != nil {
		o.Challenge = s.obtain.AnswerTLS
	}
	return o
}
