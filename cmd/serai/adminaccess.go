package main

import (
	"context"
	cryptotls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"serai/admin"
	"serai/secret"
)

// adminAccess is who may read the admin, and with which certificate it answers, as the files
// and the variable say now.
type adminAccess struct {
	flags  *adminFlags
	tokens *admin.Tokens // nil when none is asked for
	// spoken is how TLS is spoken; nil in it where it is not. Each change makes a new one.
	spoken   atomic.Pointer[spokenTLS]
	pair     atomic.Pointer[cryptotls.Certificate] // read last, of which spoken is made
	cas      atomic.Pointer[x509.CertPool]
	followed []*followedFiles
	secrets  *secret.Store // nil without a variable
}

// spokenTLS is TLS with one certificate, and one set of CAs.
type spokenTLS struct {
	config *cryptotls.Config
	leaf   *x509.Certificate
}

// newAdminAccess reads the files that the flags name.
func newAdminAccess(f *adminFlags) (*adminAccess, error) {
	a := &adminAccess{flags: f}
	if f.ClientCA != "" {
		a.followed = append(a.followed, &followedFiles{what: "admin-client-ca-file", paths: []string{f.ClientCA}, use: a.useCA})
	}
	if f.Cert != "" {
		a.followed = append(a.followed, &followedFiles{what: "admin-cert-file", paths: []string{f.Cert, f.Key}, use: a.usePair})
	}
	switch {
	case f.TokenFile != "":
		a.tokens = new(admin.Tokens)
		a.followed = append(a.followed, &followedFiles{what: "admin-token-file", paths: []string{f.TokenFile}, use: func(c [][]byte) error {
			if err := a.tokens.Set(c[0]); err != nil {
				return fmt.Errorf("%s: %w", f.TokenFile, err)
			}
			return nil
		}})
	case f.TokenPath != "":
		a.tokens, a.secrets = new(admin.Tokens), secret.NewStore()
		a.secrets.Follow([]*secret.Secret{a.secrets.Secret(f.TokenPath, "admin_token", "--admin-token-variable", a.useVariable)})
	}
	var errs []error
	for _, one := range a.followed {
		errs = append(errs, one.begin())
	}
	return a, errors.Join(errs...)
}

func (a *adminAccess) useVariable(content []byte) (string, error) {
	if content == nil {
		a.tokens.Clear()
		return "", nil
	}
	return "", a.tokens.Set(content)
}

func (a *adminAccess) useCA(c [][]byte) error {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(c[0]) {
		return fmt.Errorf("read %s: it has no certificate in PEM", a.flags.ClientCA)
	}
	a.cas.Store(pool)
	a.speak()
	return nil
}

func (a *adminAccess) usePair(c [][]byte) error {
	pair, err := cryptotls.X509KeyPair(c[0], c[1])
	if err != nil {
		return fmt.Errorf("%s with %s: %w", a.flags.Cert, a.flags.Key, err)
	}
	a.pair.Store(&pair)
	a.speak()
	return nil
}

// speak makes TLS of what has been read.
func (a *adminAccess) speak() {
	pair := a.pair.Load()
	if pair == nil {
		return // which is read next
	}
	s := &spokenTLS{&cryptotls.Config{Certificates: []cryptotls.Certificate{*pair}, MinVersion: cryptotls.VersionTLS12, NextProtos: []string{"http/1.1", "http/1.0"},
		SessionTicketsDisabled: true}, pair.Leaf} // no session of before is resumed
	if pool := a.cas.Load(); pool != nil {
		// Package admin verifies it, for each request anew: who shows none, or a foreign one,
		// gets as far as /health, is told why, and is counted.
		s.config.ClientCAs, s.config.ClientAuth = pool, cryptotls.RequestClientCert
	}
	a.spoken.Store(s)
}

// listen has a listener speak TLS, if a certificate is given.
func (a *adminAccess) listen(l net.Listener) net.Listener {
	if a.flags.Cert == "" {
		return l
	}
	return cryptotls.NewListener(l, &cryptotls.Config{GetConfigForClient: func(*cryptotls.ClientHelloInfo) (*cryptotls.Config, error) {
		return a.spoken.Load().config, nil
	}})
}

// options are what package admin asks of each request.
func (a *adminAccess) options() admin.Access {
	o := admin.Access{Tokens: a.tokens, Profiles: a.flags.Pprof}
	if a.flags.ClientCA != "" {
		o.Verify = a.verify
	}
	if a.flags.Cert != "" {
		o.OwnName = func(name string) bool { return a.spoken.Load().leaf.VerifyHostname(name) == nil }
	}
	return o
}

// verify checks a client's certificate against the CAs of now.
func (a *adminAccess) verify(chain []*x509.Certificate) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: a.cas.Load(), Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return err
}

// followAdmin follows the files and the variable until ctx ends.
func (s *system) followAdmin(ctx context.Context) error {
	return followFiles(ctx, s.adminAccess.followed, s.logger)
}

// warnOpen tells at the start what others than this machine may read of the admin, and over
// the network.
func (a *adminAccess) warnOpen(at net.Addr, logger *slog.Logger) {
	if message, do := a.open(at.String()); message != "" {
		logger.Warn(message, "address", at.String(), "do", do)
	}
}

// open says what others than this machine may read of an admin at an address, and what to do;
// nothing where they may not.
func (a *adminAccess) open(address string) (message, do string) {
	host, _, err := net.SplitHostPort(address)
	ip, wrong := netip.ParseAddr(host)
	switch {
	case err != nil || strings.EqualFold(host, "localhost") || wrong == nil && ip.Unmap().IsLoopback():
	case a.tokens == nil && a.flags.ClientCA == "":
		return "the admin address can be reached from other machines without a token or client certificate: anyone who reaches it can read routes, addresses and events",
			"set --admin-token-file with --admin-cert-file, or --admin-client-ca-file, or --admin=127.0.0.1:8081; a Prometheus elsewhere needs --metrics alone"
	case a.flags.Cert == "":
		return "the admin's tokens cross the network in plain text: whoever listens there can use them", "set --admin-cert-file and --admin-key-file"
	}
	return "", ""
}
