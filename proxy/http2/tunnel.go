package http2

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"os"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// An extended CONNECT (RFC 8441) becomes an Upgrade towards the instance. For a WebSocket
// that needs a key, which HTTP/2 does not have.

// websocketGUID is part of the answer to a key (RFC 6455 section 1.3).
const websocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

var nameKey = []byte("Sec-WebSocket-Key")

// beginWebSocket adds a key.
func (s *stream) beginWebSocket() {
	var random [16]byte
	rand.Read(random[:])
	key := base64.StdEncoding.AppendEncode(nil, random[:])
	h := &s.Exchange.Head
	for i := range h.Fields {
		if wire.EqualFold(h.Fields[i].Name, "sec-websocket-key") {
			h.Fields[i].Kind = wire.Dropped
		}
	}
	h.Fields = append(h.Fields, wire.Field{Name: nameKey, Value: key})
	sum := sha1.Sum(append(key[:len(key):len(key)], websocketGUID...))
	s.accept = base64.StdEncoding.AppendEncode(s.accept[:0], sum[:])
}

var errAccept = errors.New("the instance's Sec-WebSocket-Accept is not for this request")

// Tunnel answers a CONNECT, and returns the client's side of the tunnel.
func (r *responder) Tunnel(h *wire.ResponseHead) (upstream.Duplex, error) {
	s := r.stream()
	if len(s.accept) > 0 && string(wire.Get(h.Fields, "sec-websocket-accept")) != string(s.accept) {
		s.code = http2.ConnectError
		return nil, errAccept
	}
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Kind == wire.ContentLength || wire.EqualFold(f.Name, "sec-websocket-accept") {
			f.Kind = wire.Dropped
		}
	}
	s.encode(h, 200)
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	s.headed, s.answered, s.tunnel = true, true, true
	s.interrupted = false
	s.appendBlock(0)
	c.flush(true)
	return &clientSide{s: s}, s.usable()
}

// clientSide is the client's side of a tunnel.
type clientSide struct {
	s       *stream
	readBy  time.Time     // guarded by conn.mu
	writing time.Duration // used by the goroutine that writes
}

var _ upstream.Duplex = (*clientSide)(nil)

// Read reads what has come, or waits for more.
func (d *clientSide) Read(p []byte) (int, error) {
	s := d.s
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case s.interrupted, !d.readBy.IsZero() && !time.Now().Before(d.readBy):
			return 0, os.ErrDeadlineExceeded
		case s.bodyErr != nil:
			return 0, s.bodyErr
		case s.unread > 0:
			first := &s.chunks[0]
			n := copy(p, first.b[first.r:first.w])
			first.r += n
			s.unread -= n
			s.reading = n
			s.endRead()
			c.flushSoon()
			return n, nil
		case s.remoteEnd:
			return 0, io.EOF
		}
		s.readBy = d.readBy
		s.readable.Wait()
		s.readBy = time.Time{}
	}
}

// Write sends p at once.
func (d *clientSide) Write(p []byte) (int, error) {
	s := d.s
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.send(p, d.writing); err != nil {
		return 0, err
	}
	c.flush(true)
	return len(p), s.usable()
}

// ReadWithin bounds the next reads.
func (d *clientSide) ReadWithin(now time.Time, within time.Duration) {
	d.s.conn.mu.Lock()
	defer d.s.conn.mu.Unlock()
	d.readBy = now.Add(within)
}

// WriteWithin bounds the next writes.
func (d *clientSide) WriteWithin(_ time.Time, within time.Duration) { d.writing = within }

// CloseWrite ends the stream's sending side.
func (d *clientSide) CloseWrite() error {
	s := d.s
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	s.endLocal()
	c.flush(true)
	return nil
}

// Interrupt makes waiting reads and writes fail.
func (d *clientSide) Interrupt() {
	s := d.s
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.interrupted = true
	s.readable.Broadcast()
	c.room.Broadcast()
}

// Abort makes the stream end in a way that shows the client that the tunnel was cut.
func (d *clientSide) Abort() {
	d.s.conn.mu.Lock()
	defer d.s.conn.mu.Unlock()
	d.s.code = http2.ConnectError
}
