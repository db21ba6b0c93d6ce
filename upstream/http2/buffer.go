package http2

import (
	"time"

	"serai/wire/socket"
)

// A stream may be sent as much as its buffer holds. It begins with a small one, and
// gets a large one when its body turns out to be worth it, where there is memory. A body
// that brings a little now and then, for hours, is not.
const (
	smallWindow = socket.SmallBuffer
	largeWindow = socket.LargeBuffer
	// worthIt is how much of a body has come within worthWithin when it is.
	worthIt     = smallWindow / 2
	worthWithin = time.Second
	// restAfter is how long a body is silent before its buffer is given back.
	restAfter = time.Second
	// connWindow is what may be under way on a connection. It is given back at once,
	// so that no slow stream is in the way of others: what is held is bounded
	// by the windows of the streams.
	connWindow = 1 << 20
)

// buffer is what has come of a body and was not read yet: a ring, which the reader of
// the connection fills. The bytes that were handed out stay as they are until the
// next take.
type buffer struct {
	ring  []byte // nil while there is nothing
	large bool   // the ring is a large one, or will be
	from  int    // of the bytes that were handed out, in ring
	lent  int    // how many these are
	held  int    // how many have come behind them
	old   []byte // has the bytes that were handed out, where the ring has been replaced
	owed  int    // how many these are
}

// put takes data, which fits: the instance's window is no larger than the ring.
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

// take takes back what it has handed out, hands out the next bytes, and returns how
// many it took back.
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

// enlarge makes the ring a large one.
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

// rest gives the ring back, if nothing is in it and nobody reads what was: the next byte
// takes another one.
func (b *buffer) rest() {
	if b.lent == 0 && b.held == 0 && b.old == nil {
		socket.Put(b.ring)
		b.ring = nil
	}
}

// drop gives all memory back.
func (b *buffer) drop() {
	socket.Put(b.old)
	socket.Put(b.ring)
	*b = buffer{}
}
