package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

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
				protocols, scheme := new(http.Protocols), "http"
				if protocols.SetUnencryptedHTTP2(!encrypted); encrypted {
					protocols.SetHTTP2(true)
					scheme = "https"
				}
				transport := &http.Transport{
					Protocols: protocols, TLSClientConfig: &tls.Config{ServerName: "web.example.org", InsecureSkipVerify: true},
					DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
						return new(net.Dialer).DialContext(ctx, network, address)
					},
				}
				defer transport.CloseIdleConnections()
				r, err := http.NewRequest("GET", scheme+"://"+host+"/", nil)
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
