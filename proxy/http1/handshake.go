package http1

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"serai/proxy"
)

// handshake makes the TLS handshake, within the time that a head may take.
func (c *conn) handshake(t *tls.Conn) bool {
	ctx, cancel := context.WithTimeout(context.Background(), c.server.options.HeadTimeout)
	defer cancel()
	err := t.HandshakeContext(ctx)
	var plain tls.RecordHeaderError
	if errors.As(err, &plain) && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
		e := proxy.ReasonPlainHTTP.Refusal()
		body := fmt.Sprintf("%d %s (%s)\n", e.Status, e.Detail, e.Code)
		fmt.Fprintf(plain.Conn, "HTTP/1.1 %d Bad Request\r\nX-Serai-Reason: %s\r\nContent-Type: text/plain\r\n"+
			"Connection: close\r\nContent-Length: %d\r\n\r\n%s", e.Status, e.Code, len(body), body)
		c.ending = endExpecting
	}
	if err != nil {
		c.server.options.Handshaken(nil, err)
		c.server.proxy.Count(proxy.ReasonTLSHandshake)
		return false
	}
	state := t.ConnectionState()
	c.server.options.Handshaken(&state, nil)
	c.serverName = state.ServerName
	// A CA that validates a name asks for nothing else (RFC 8737).
	return state.NegotiatedProtocol == "" || state.NegotiatedProtocol == "http/1.1"
}

// looksLikeHTTP reports whether a first record is the start of a request line.
func looksLikeHTTP(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		return true
	}
	return false
}
