package front

import (
	"bytes"
	"net"
)

// headerConn is a connection that may begin with a PROXY header. It turns the header
// into a form that go-proxyproto accepts: a line of version 1 must come in one piece,
// which a network may have split, and a connection of unspecified family in version 2
// must be LOCAL. The protocol lets a receiver wait for the rest of a header (section
// 2.1), and use the peer's own addresses for such a connection (section 2.2).
type headerConn struct {
	net.Conn
	begun bool
	ahead []byte // bytes that were read but not returned yet
	err   error  // the error after them
}

// The first bytes of headers, and the longest line of version 1.
const (
	v1Begins  = "PROXY "
	v2Begins  = "\r\n\r\n\x00\r\nQUIT\n"
	v1Longest = 107
)

// Read returns the bytes that were read ahead, and then what comes.
func (c *headerConn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		c.gather()
	}
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	if err := c.err; err != nil {
		c.ahead, c.err = nil, nil
		return 0, err
	}
	return c.Conn.Read(p)
}

// gather reads until the header is complete, or cannot be a header, or no more comes.
// The caller limits the time.
func (c *headerConn) gather() {
	b := make([]byte, 0, 256)
	for c.err == nil && wantsMore(b) {
		var n int
		n, c.err = c.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	const versionAndCommand, family = len(v2Begins), len(v2Begins) + 1
	if bytes.HasPrefix(b, []byte(v2Begins)) && len(b) > family && b[versionAndCommand] == 0x21 && b[family] == 0 {
		b[versionAndCommand] = 0x20 // LOCAL: the addresses of the connection itself count
	}
	c.ahead = b
}

// wantsMore reports whether b is the beginning of a header that needs more bytes.
func wantsMore(b []byte) bool {
	begins := func(with string) bool {
		n := min(len(b), len(with))
		return string(b[:n]) == with[:n]
	}
	switch {
	case begins(v1Begins):
		return len(b) < v1Longest && bytes.IndexByte(b, '\n') < 0
	case begins(v2Begins):
		return len(b) < len(v2Begins)+2
	}
	return false
}
