package proxy_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"serai/front"
	"serai/proxy"
	engine1 "serai/proxy/http1"
	engine2 "serai/proxy/http2"
	"serai/wire/socket"
)

// listenTLS has both engines behind TLS, and returns the address.
func listenTLS(t *testing.T, n *node) string {
	t.Helper()
	e1, err := engine1.NewEngine(n.proxy, engine1.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e2, err := engine2.NewEngine(n.proxy, engine2.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := front.NewServer(front.Options{Engines: map[string]front.Engine{"": e1, "h2": e2}})
	if err != nil {
		t.Fatal(err)
	}
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	certificate.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: certificate.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(context.Background(), socket.NewTLSListener(l, config)) })
	t.Cleanup(func() {
		cut, end := context.WithCancel(context.Background())
		end()
		server.Shutdown(cut)
		serving.Wait()
	})
	return l.Addr().String()
}

// TestFieldsKnowTheConnection: instance and client are told of the TLS connection, and
// over it the sticky cookie is for frames of other sites.
func TestFieldsKnowTheConnection(t *testing.T) {
	for _, c := range []struct {
		protocol string
		version  uint16
		want     string
	}{
		{"HTTP/1.1", tls.VersionTLS12, "TLSv1.2"}, {"HTTP/1.1", tls.VersionTLS13, "TLSv1.3"},
		{"HTTP/2.0", tls.VersionTLS12, "TLSv1.2"}, {"HTTP/2.0", tls.VersionTLS13, "TLSv1.3"},
	} {
		t.Run(c.protocol+" "+c.want, func(t *testing.T) {
			i := newInstance(t)
			n := newNode(t, proxy.Options{}, speaksHTTP1(), []string{i.address}, "ingress.sticky=stay", "ingress.sticky-same-site=none",
				"ingress.request-set=X-Tls: {tls-version} {sni}", "ingress.response-set=X-Tls: {tls-version} {sni}")
			address := listenTLS(t, n)
			transport := &http.Transport{
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: c.version}, ForceAttemptHTTP2: c.protocol == "HTTP/2.0",
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, address)
				},
			}
			t.Cleanup(transport.CloseIdleConnections)
			var asked string
			var asking sync.WaitGroup
			asking.Go(func() {
				in := i.next()
				asked = in.head()
				in.send(fine)
			})
			answer, err := (&http.Client{Transport: transport, Timeout: long}).Get("https://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			io.Copy(io.Discard, answer.Body)
			asking.Wait()
			want := c.want + " " + host
			if got := answer.Header.Get("X-Tls"); answer.Proto != c.protocol || got != want || !strings.Contains(asked, "\r\nX-Tls: "+want+"\r\n") {
				t.Errorf("over %s the client is told %q, and the instance is asked %q", answer.Proto, got, asked)
			}
			if cookie := answer.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "stay=") || !strings.HasSuffix(cookie, "; SameSite=None; Secure") {
				t.Errorf("the cookie is %q", cookie)
			}
		})
	}
}
