package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"serai/internal/testnet"
	"serai/nomad"
)

// TestHTTP2 asks both listeners in HTTP/2. A connection is for the host whose
// certificate it has shown.
func TestHTTP2(t *testing.T) {
	o := newRecorder(t, func(*http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	dir, issuer := t.TempDir(), authority(t)
	issuer.write(t, dir, "web.example.org", "web.example.org")
	issuer.write(t, dir, "small.example.org", "small.example.org")
	for _, c := range []struct {
		flag           string
		plain, overTLS bool
	}{{"--http2=on", true, true}, {"--http2=off", true, false}, {"--h2c=off", false, true}} {
		t.Run(c.flag, func(t *testing.T) {
			secure := testnet.Address(t)
			_, plain := serveStatic(t, []nomad.Registration{o.registration("ingress.host=*")}, "--https="+secure, "--cert-dir="+dir, c.flag)
			until(t, "the HTTPS listener", func() bool {
				c, err := net.Dial("tcp", secure)
				if err == nil {
					c.Close()
				}
				return err == nil
			})
			over := func(address string, host string, encrypted bool) (string, error) {
				transport := &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, _, _ string, config *tls.Config) (net.Conn, error) {
					if !encrypted {
						return new(net.Dialer).DialContext(ctx, "tcp", address)
					}
					config = config.Clone()
					config.ServerName, config.InsecureSkipVerify = "web.example.org", true
					d := tls.Dialer{Config: config}
					conn, err := d.DialContext(ctx, "tcp", address)
					if err == nil && conn.(*tls.Conn).ConnectionState().NegotiatedProtocol != "h2" {
						conn.Close()
						return nil, fmt.Errorf("no h2")
					}
					return conn, err
				}}
				defer transport.CloseIdleConnections()
				r, err := http.NewRequest("GET", "https://"+host+"/", nil)
				if err != nil {
					return "", err
				}
				res, err := transport.RoundTrip(r)
				if err != nil {
					return "", err
				}
				defer res.Body.Close()
				_, err = io.Copy(io.Discard, res.Body)
				return fmt.Sprint(res.StatusCode, res.Header.Get("X-Serai-Reason")), err
			}
			for _, a := range []struct {
				address, host, want string
				encrypted, works    bool
			}{
				{plain, "web.example.org", "200", false, c.plain}, {secure, "web.example.org", "200", true, c.overTLS},
				{secure, "small.example.org", "421misdirected", true, c.overTLS},
			} {
				got, err := over(a.address, a.host, a.encrypted)
				if works := err == nil; works != a.works || works && got != a.want {
					t.Errorf("%s over TLS %v: %q, %v; want %s: %v", a.host, a.encrypted, got, err, a.want, a.works)
				}
			}
		})
	}
}
