package agentapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// silence is after how long a connection ends whose other end acknowledges nothing. A query
// may wait on it for minutes, for an answer that the network has lost.
const silence = 30 * time.Second

// NewTransport returns a transport for one agent, which keeps that many connections. It
// uses no proxy: the agent is on this machine or in this network. The caller sets up TLS.
func NewTransport(a Address, connections int) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 6, Count: 3}, Control: boundSilence}
	tr := &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		MaxIdleConnsPerHost: connections,
		IdleConnTimeout:     90 * time.Second,
		// An agent's head is a few hundred bytes.
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if a.Socket != "" {
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", a.Socket)
		}
	}
	return tr
}
