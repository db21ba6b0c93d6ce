package socket

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// NewTLSListener is tls.NewListener, for connections on which a Conn can see that a TLS
// record has begun and its rest is late.
func NewTLSListener(l net.Listener, config *tls.Config) net.Listener {
	return &tlsListener{l, config}
}

type tlsListener struct {
	net.Listener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(newRecordConn(c), l.config), nil
}

// recordConn is the connection below TLS. It tracks where records begin and end (RFC
// 8446 section 5.1): nothing else shows that a part of one has come while the reader
// above waits for the whole.
//
// If it has the socket itself it can also report that nothing has come yet, instead of
// waiting: then Serve waits for the socket once for many records, without a buffer, as
// it does without TLS.
type recordConn struct {
	net.Conn
	sys sysConn // of the socket, if it is one
	records

	began time.Time // when the current incomplete record began
	conn  *Conn     // whose wait ends when the rest is late, nil for none
	rest  time.Duration

	// coming counts the records that the write under way still has to make.
	coming atomic.Int32
	// torn is the error of the write that failed. It is used only by Write.
	torn error

	serving
}

func newRecordConn(c net.Conn) *recordConn {
	r := &recordConn{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		r.sys.init(nil, sc)
	}
	return r
}

// reads is what a read does when nothing has come.
type reads uint8

const (
	readsWait    reads = iota // waits
	readsHere                 // fails with errNotYet, within the wait of Serve
	readsReady                // fails with errNotYet, outside of it
	readsNothing              // fails: a handler is running, which must not read
)

// errNotYet says that nothing has come yet. After a temporary error crypto/tls
// continues as if it had not read.
var errNotYet net.Error = notYet{}

type notYet struct{}

func (notYet) Error() string   { return "nothing has come yet" }
func (notYet) Timeout() bool   { return false }
func (notYet) Temporary() bool { return true }

const recordHeader = 5

// NetConn returns the connection below.
func (r *recordConn) NetConn() net.Conn { return r.Conn }

func (r *recordConn) Read(p []byte) (int, error) {
	n, err := r.read(p)
	inside := r.inside()
	if r.follow(p[:n]) {
		r.began = time.Time{}
	}
	if r.inside() && (!inside || r.began.IsZero()) {
		r.began = time.Now()
		r.limit()
	}
	return n, err
}

func (r *recordConn) read(p []byte) (int, error) {
	switch {
	case !r.sys.ok():
		return r.Conn.Read(p)
	case r.reads == readsNothing:
		return 0, errServing
	case r.reads == readsHere:
		return r.readHere(p)
	case r.reads == readsReady:
		if n := r.sys.readReady(p); n > 0 {
			return n, nil
		}
		return 0, errNotYet
	}
	return r.sys.read(p)
}

// recordSize is the largest content of a record.
const recordSize = 16 << 10

// oneSegment is the most that the kernel sends as one segment, including what records
// add.
const oneSegment = 64000

// announce says that n bytes are about to be written. crypto/tls writes each record
// on its own: all but the last are held back by the kernel until it comes, so that they
// leave in one segment.
func (r *recordConn) announce(n int) { r.coming.Store(int32((n + recordSize - 1) / recordSize)) }

// Write writes all of p. crypto/tls makes sure that calls are not concurrent. A record
// that it writes on its own meanwhile counts too: then the last ones are not held back.
//
// After a write that failed nothing more is written: crypto/tls would still send
// close_notify when it closes, behind a record that the peer has in part or not at all. The
// peer would take that for bytes changed on their way (bad_record_mac).
func (r *recordConn) Write(p []byte) (n int, err error) {
	if r.torn != nil {
		return 0, r.torn
	}
	if r.sys.ok() {
		left := r.coming.Load()
		if left > 0 {
			r.coming.Add(-1)
		}
		n, err = r.sys.write(p, left > 1)
	} else {
		n, err = r.Conn.Write(p)
	}
	r.torn = err
	return n, err
}

// fillReady reads what has come into p, and returns how much that is.
func (r *recordConn) fillReady(c *Conn, p []byte) int {
	r.reads = readsReady
	n, _ := c.Conn.Read(p) // an error is left to the next read
	r.reads = readsWait
	return n
}

// records tracks where records begin and end.
type records struct {
	header [recordHeader]byte
	got    int // bytes of the header so far
	left   int // bytes of the record's content that have not come
}

// inside reports whether a part of a record has come.
func (r *records) inside() bool { return r.got > 0 }

// follow advances through the records in b, and reports whether one has ended.
func (r *records) follow(b []byte) (ended bool) {
	for len(b) > 0 {
		if r.got < recordHeader {
			n := copy(r.header[r.got:], b)
			r.got, b = r.got+n, b[n:]
			if r.got < recordHeader {
				return ended
			}
			r.left = int(binary.BigEndian.Uint16(r.header[3:]))
		}
		n := min(r.left, len(b))
		if r.left, b = r.left-n, b[n:]; r.left == 0 {
			r.got, ended = 0, true
		}
	}
	return ended
}

// await makes a wait of c for a record end when one that has begun is not complete
// within rest.
func (r *recordConn) await(c *Conn, rest time.Duration) {
	r.conn, r.rest = c, rest
	r.limit()
}

func (r *recordConn) limit() {
	if r.conn != nil && r.inside() {
		r.conn.readBefore(r.began.Add(r.rest))
	}
}
