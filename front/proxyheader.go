package front

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"slices"

	"github.com/pires/go-proxyproto"
)

// headerConn is a connection that may begin with a PROXY header. It turns the header
// into a form that go-proxyproto accepts: a line of version 1 must come in one piece,
// which a network may have split, and a connection of unspecified family in version 2
// must be LOCAL. The protocol lets a receiver wait for the rest of a header (section
// 2.1), and use the peer's own addresses for such a connection (section 2.2). It checks
// the checksum of a header of version 2 that has one (section 2.2.3).
type headerConn struct {
	net.Conn
	begun    bool
	claim    bool   // it begins as only a header does
	wrongSum bool   // the checksum of the header is wrong
	ahead    []byte // bytes that were read but not returned yet
	err      error  // the error after them
}

// The first bytes of headers, and the longest line of version 1.
const (
	v1Begins  = "PROXY "
	v2Begins  = "\r\n\r\n\x00\r\nQUIT\n"
	v1Longest = 107
)

// Places in a header of version 2, its length without what it announces, and the checksum
// among what follows the addresses: type, two bytes of length, value.
const (
	v2Command  = len(v2Begins)
	v2Family   = v2Command + 1
	v2Length   = v2Family + 1
	v2Fixed    = v2Length + 2
	v2Checksum = "\x03\x00\x04"
)

var errChecksum = errors.New("the checksum of the PROXY header is wrong")

// BeginsProxyHeader reports whether b begins with as much of a PROXY header as it has room
// for, at least its first five bytes.
func BeginsProxyHeader(b []byte) bool {
	for _, begins := range [...]string{v2Begins, v1Begins + "TCP4 ", v1Begins + "TCP6 ", v1Begins + "UNKNOWN"} {
		if n := min(len(b), len(begins)); n >= 5 && string(b[:n]) == begins[:n] {
			return true
		}
	}
	return false
}

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
		b = slices.Grow(b, 1)
		n, c.err = c.Conn.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
	}
	c.claim = bytes.HasPrefix(b, []byte(v1Begins)) || bytes.HasPrefix(b, []byte(v2Begins))
	if bytes.HasPrefix(b, []byte(v2Begins)) && len(b) >= v2Fixed {
		if !validChecksum(b) {
			c.err, c.wrongSum = errChecksum, true
			return
		}
		if b[v2Command] == 0x21 && b[v2Family] == 0 {
			b[v2Command] = 0x20 // LOCAL: the addresses of the connection itself count
		}
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
		return len(b) < v2Fixed || len(b) < v2Fixed+announced(b) && announced(b) <= int(proxyproto.MaxV2HeaderSize)
	}
	return false
}

// announced returns how many bytes a header of version 2 says to follow its fixed part.
func announced(b []byte) int { return int(binary.BigEndian.Uint16(b[v2Length:])) }

// validChecksum reports whether the header of version 2 at the beginning of b has the checksum
// that it says, or none. One that is too long is left to go-proxyproto to refuse.
func validChecksum(b []byte) bool {
	if announced(b) > int(proxyproto.MaxV2HeaderSize) {
		return true
	}
	b = b[:min(len(b), v2Fixed+announced(b))]
	rest := b[v2Fixed:]
	switch b[v2Family] >> 4 {
	case 1:
		rest = rest[min(len(rest), 12):]
	case 2:
		rest = rest[min(len(rest), 36):]
	case 3:
		rest = rest[min(len(rest), 216):]
	}
	for len(rest) > 3 {
		value := rest[3:][:min(len(rest)-3, int(binary.BigEndian.Uint16(rest[1:])))]
		if string(rest[:3]) == v2Checksum && len(value) == 4 {
			table, at, zeros := crc32.MakeTable(crc32.Castagnoli), len(b)-len(rest)+3, [4]byte{}
			sum := crc32.Update(crc32.Checksum(b[:at], table), table, zeros[:])
			return crc32.Update(sum, table, b[at+4:]) == binary.BigEndian.Uint32(value)
		}
		rest = rest[3+len(value):]
	}
	return true
}
