package http2

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"os"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

const (
	webSocketKey = "sec-websocket-key"
	// webSocketID goes into the answer to a key (RFC 6455 section 1.3).
	webSocketID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// wantsTunnel reports whether the request is for a WebSocket, perhaps among others. Other upgrades are not
// passed on over HTTP/2, and the instance answers as if they were not requested (RFC
// 9110 section 7.8).
func wantsTunnel(h *wire.OutgoingRequest) bool {
	return string(h.Method) == "GET" && wire.HasToken(h.Upgrade, "websocket") && h.Framing == wire.NoBody
}

// accept turns the answer to an extended CONNECT into the 101 that a client of HTTP/1
// expects (RFC 8441 section 5, RFC 6455 section 4.2.2).
func (s *stream) accept(r *upstream.Request, a *upstream.Answer) {
	h := &a.Head
	h.Status, h.Framing, h.Size, h.Declared = 101, wire.NoBody, 0, false
	for i := range h.Fields {
		if k := h.Fields[i].Kind; k == wire.ContentLength || k == wire.Trailer || wire.EqualFold(h.Fields[i].Name, "sec-websocket-accept") {
			h.Fields[i].Kind = wire.Dropped
		}
	}
	h.Fields = append(h.Fields, wire.Field{Name: []byte("Upgrade"), Value: []byte("websocket"), Kind: wire.Upgrade})
	if key := wire.Get(r.Head.Fields, webSocketKey); key != nil {
		sum := sha1.Sum(append(append([]byte(nil), key...), webSocketID...))
		h.Fields = append(h.Fields, wire.Field{Name: []byte("Sec-WebSocket-Accept"), Value: base64.StdEncoding.AppendEncode(nil, sum[:])})
	}
}

// Tunnel returns the stream as bytes in both directions.
func (s *stream) Tunnel() (upstream.Duplex, *upstream.Failure) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.interrupted {
		return nil, &upstream.Failure{Kind: upstream.FailedTimeout, Processing: upstream.Answered, Err: os.ErrDeadlineExceeded}
	}
	s.length, s.bodiless, s.readBy = -1, false, time.Time{}
	d := &tunnel{stream: s, upload: newUpload(nil)}
	s.upload = d.upload
	return d, nil
}

// tunnel is a stream whose DATA is no message but bytes of another protocol.
type tunnel struct {
	stream *stream
	upload *upload // for writes; only its news channel is used
	rest   []byte  // bytes that Read has not returned yet

	writeBy time.Duration
}

// Read reads what has come.
func (d *tunnel) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		var err error
		if d.rest, err = d.stream.Next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// Write sends p.
func (d *tunnel) Write(p []byte) (int, error) {
	err := d.stream.sendAll(d.upload, p, false, nil, d.writeBy)
	if err != nil {
		return 0, d.why()
	}
	return len(p), nil
}

// why returns why nothing more can be sent.
func (d *tunnel) why() error {
	s := d.stream
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	switch {
	case s.interrupted || !s.stopped && !s.over:
		return os.ErrDeadlineExceeded
	case s.err != nil:
		return s.err
	}
	return io.ErrClosedPipe
}

func (d *tunnel) ReadWithin(now time.Time, by time.Duration)  { d.stream.ReadWithin(now, by) }
func (d *tunnel) WriteWithin(now time.Time, by time.Duration) { d.writeBy = time.Until(now.Add(by)) }

// CloseWrite ends this direction of the stream.
func (d *tunnel) CloseWrite() error {
	if err := d.stream.sendAll(d.upload, nil, true, nil, 0); err != nil {
		return d.why()
	}
	return nil
}

func (d *tunnel) Interrupt() { d.stream.Interrupt() }

// Abort shows the instance that the tunnel was cut.
func (d *tunnel) Abort() {
	s := d.stream
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if !s.over && s.conn.state != dead {
		s.conn.reset(s, http2.Cancel)
		s.close()
		s.conn.flush()
	}
}
