package consulsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
)

// ServeSidecar is a sidecar of a service on l, which it closes, until ctx ends: like
// `consul connect proxy`, it demands a certificate of the mesh, asks whether an intention
// allows its service, and passes bytes on to the local address.
func (s *Sim) ServeSidecar(ctx context.Context, l net.Listener, service, local string) {
	var running sync.WaitGroup
	defer running.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	config := s.sidecarTLS(service)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			pass(tls.Server(c, config), local)
		})
	}
}

// sidecarTLS is how `consul connect proxy` sets up TLS.
func (s *Sim) sidecarTLS(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c := s.Certificate(service)
			return &c, nil
		},
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			var chain []*x509.Certificate
			o := x509.VerifyOptions{Roots: s.Roots(), Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
			for i, der := range raw {
				c, err := x509.ParseCertificate(der)
				if err != nil {
					return err
				}
				if chain = append(chain, c); i > 0 {
					o.Intermediates.AddCert(c)
				}
			}
			if _, err := chain[0].Verify(o); err != nil {
				return err
			}
			if len(chain[0].URIs) == 0 {
				return errors.New("connect: invalid leaf certificate")
			}
			_, source, _ := strings.Cut(chain[0].URIs[0].Path, "/svc/")
			if !s.Allows(source, service) {
				return fmt.Errorf("connect: authz denied: %s to %s", source, service)
			}
			return nil
		},
	}
}

// pass copies bytes in both directions until both have ended.
func pass(from *tls.Conn, address string) {
	// Consul's proxy connects first, and reads nothing before it has verified who came.
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer to.Close()
	defer from.Close()
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(from, to)
		from.Close()
	})
	io.Copy(to, from)
	to.Close()
	back.Wait()
}
