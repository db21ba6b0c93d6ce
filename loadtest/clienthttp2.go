package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
)

// entrance is where the clients of a scenario connect to.
type entrance struct {
	plain  string // host:port
	secure string // with TLS, empty where there is none
}

// connectionsEach is how many connections clients of HTTP/2 keep with each of an
// entrance's addresses.
const connectionsEach = 4

// http2Client sends GET, POST, and a larger body with PUT over HTTP/2, on a few
// connections that stay: with TLS, and without by prior knowledge.
type http2Client struct {
	host  string
	large string
	conns []http2Conn
}

// http2Conn is a client of net/http, which keeps one connection.
type http2Conn struct {
	*http.Transport
	scheme string
}

func newHTTP2Client(at entrance, host, large string) *http2Client {
	c := &http2Client{host: host, large: large}
	for range connectionsEach {
		c.conns = append(c.conns, newHTTP2Conn("http", at.plain, host))
		if at.secure != "" {
			c.conns = append(c.conns, newHTTP2Conn("https", at.secure, host))
		}
	}
	return c
}

func newHTTP2Conn(scheme, address, host string) http2Conn {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		Protocols:       new(http.Protocols),
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host},
	}
	t.Protocols.SetHTTP2(scheme == "https")
	t.Protocols.SetUnencryptedHTTP2(scheme == "http")
	return http2Conn{t, scheme}
}

func (c *http2Client) name() string { return "HTTP/2" }

func (c *http2Client) close() {
	for _, t := range c.conns {
		t.CloseIdleConnections()
	}
}

func (c *http2Client) ask(i int) (failure string) {
	method, sent := http.MethodGet, []byte(nil)
	switch {
	case i%2 == 0:
	case i%8 >= 4:
		method, sent = c.large, largeBody
	default:
		method, sent = http.MethodPost, []byte("a body")
	}
	t := c.conns[i/8%len(c.conns)]
	ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, t.scheme+"://"+c.host+"/", bytes.NewReader(sent))
	if err != nil {
		return err.Error()
	}
	a, err := t.RoundTrip(q)
	if err != nil {
		return fmt.Sprintf("%s error: %s", method, withoutNumbers(err.Error()))
	}
	defer a.Body.Close()
	text, err := io.ReadAll(a.Body)
	switch {
	case err != nil:
		return fmt.Sprintf("%s error in the body: %s", method, withoutNumbers(err.Error()))
	case a.StatusCode != http.StatusOK:
		return fmt.Sprintf("%s %d %s", method, a.StatusCode, a.Header.Get("X-Serai-Reason"))
	case !strings.HasSuffix(string(text), fmt.Sprintf(", %d bytes of body\n", len(sent))):
		return fmt.Sprintf("%s: another answer", method)
	}
	return ""
}

var numbers = regexp.MustCompile(`\d[\d.:]*`)

// withoutNumbers makes errors comparable that differ only in addresses and streams.
func withoutNumbers(s string) string { return numbers.ReplaceAllString(s, "N") }
