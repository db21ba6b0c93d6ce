package proxy

import "encoding/binary"

// messages follows the messages of a gRPC body as its bytes pass. The zero messages is
// at its start.
type messages struct {
	prefix [5]byte // a flag for compression, and the length
	have   int     // bytes of the prefix that have passed
	left   uint32  // bytes of the message that are still to come
}

// pass follows the next bytes.
func (m *messages) pass(p []byte) {
	for len(p) > 0 {
		if m.left > 0 {
			n := min(uint64(m.left), uint64(len(p)))
			m.left -= uint32(n)
			p = p[n:]
			continue
		}
		n := copy(m.prefix[m.have:], p)
		p = p[n:]
		if m.have += n; m.have == len(m.prefix) {
			m.have, m.left = 0, binary.BigEndian.Uint32(m.prefix[1:])
		}
	}
}

// between reports whether no message has begun that is not complete.
func (m *messages) between() bool { return m.have == 0 && m.left == 0 }
