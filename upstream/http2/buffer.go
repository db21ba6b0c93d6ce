package http2

import (
	"time"

	"serai/wire/socket"
)

// The instance may send as much on a stream as its buffer holds. A stream begins with a
// small buffer, and gets a large one when much of its body comes at once and there is
// memory. A body of which a little comes now and then, for hours, keeps the small one.
const (
	smallWindow = socket.SmallBuffer
	largeWindow = socket.LargeBuffer
	// A body gets a large buffer when more than worthIt bytes come within worthWithin.
	worthIt     = smallWindow / 2
	worthWithin = time.Second
	// restAfter is how long a body is silent before its buffer is released.
	restAfter = time.Second
	// connWindow is the window of a connection. It is reopened at once, so that a slow
	// stream does not stop others: the windows of the streams bound the memory.
	connWindow = 1 << 20
)

// buffer is the part of a body that has come and was not read yet: a ring, which the
// reader of the connection fills. The bytes that take returned stay valid until the
// next take.
type buffer struct {
	ring  []byte // nil while it is empty
	large bool   // the ring is a large one, or will be
	from  int    // start of the bytes that take returned, in ring
	lent  int    // number of these bytes
	held  int    // number of bytes that have come after them
	old   []byte // the replaced ring, if take has returned bytes of it
	owed  int    // number of these bytes
}

// put adds data. It fits, because the instance's window is no larger than the ring.
func (b *buffer) put(data []byte) {
	if b.ring == nil {
		b.from = 0
		if b.large {
			b.ring = socket.GetLarge()
		} else {
			b.ring = socket.GetSmall()
		}
	}
	for len(data) > 0 {
		at := (b.from + b.lent + b.held) % len(b.ring)
		end := len(b.ring)
		if start := b.from; at < start {
			end = start
		}
		n := copy(b.ring[at:end], data)
		if n == 0 {
			panic("http2: a body is longer than its window")
		}
		b.held += n
		data = data[n:]
	}
}

// take frees the bytes that it returned before, and returns the next ones. Free is the
// number of bytes it has freed.
func (b *buffer) take() (data []byte, free int) {
	free = b.giveBack()
	if b.held == 0 {
		return nil, free
	}
	end := min(b.from+b.held, len(b.ring))
	data = b.ring[b.from:end]
	b.lent, b.held = len(data), b.held-len(data)
	return data, free
}

func (b *buffer) giveBack() (free int) {
	if b.old != nil {
		socket.Put(b.old)
		free, b.old, b.owed = b.owed, nil, 0
	}
	free += b.lent
	if b.ring != nil {
		b.from = (b.from + b.lent) % len(b.ring)
	}
	b.lent = 0
	return free
}

// enlarge replaces the ring by a large one.
func (b *buffer) enlarge() {
	large := socket.GetLarge()
	start := b.from + b.lent
	for i := range b.held { // at most a small buffer
		large[i] = b.ring[(start+i)%len(b.ring)]
	}
	if b.lent > 0 {
		b.old, b.owed = b.ring, b.lent
	} else {
		socket.Put(b.ring)
	}
	b.ring, b.large, b.from, b.lent = large, true, 0, 0
}

// rest releases the ring if it is empty and nobody uses bytes of it. The next byte
// takes another one.
func (b *buffer) rest() {
	if b.lent == 0 && b.held == 0 && b.old == nil {
		socket.Put(b.ring)
		b.ring = nil
	}
}

// drop releases all memory.
func (b *buffer) drop() {
	socket.Put(b.old)
	socket.Put(b.ring)
	*b = buffer{}
}
