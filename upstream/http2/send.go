package http2

import (
	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

const (
	// mostOut is how many bytes may be in out before bodies wait, and mostUnread before new
	// requests use another connection.
	mostOut    = 64 << 10
	mostUnread = 256 << 10
)

// begin sends the head that is in r.Scratch, with as much of the body as has come and
// the windows allow. It returns the rest of r.First. If it fails, nothing was sent.
func (s *stream) begin(r *upstream.Request, tunnel bool) (rest []byte, err error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone != nil:
		return nil, c.gone
	case c.state != open:
		return nil, errRetired
	}
	if c.next > http2.MaxStream {
		c.retire()
		return nil, errRetired
	}
	s.id = c.next
	c.next += 2
	c.streams[s.id] = s
	s.sendWindow, s.start = c.peer.window, c.appended
	block := r.Scratch
	if c.peer.tableSize {
		c.peer.tableSize = false
	} else {
		block = block[1:]
	}
	var trailers []wire.Field
	if r.Complete && r.Head.Framing != wire.NoBody {
		trailers = r.Body.Trailers()
	}
	whole := r.Complete && !tunnel
	flags := http2.Flags(0)
	if whole && len(r.First) == 0 && len(trailers) == 0 {
		flags, s.sentEnd = http2.FlagEndStream, true
	}
	c.add(http2.AppendBlock(c.out, block, flags, s.id, http2.FrameSize))
	c.begun = true
	if !s.sentEnd {
		rest = s.appendData(r.First, whole, trailers)
	}
	c.flushWithOthers()
	return rest, nil
}

// appendData appends as much of p as the windows allow, and returns the rest. If end is
// set, the stream ends after the last byte, with trailers if there are any. c.mu is
// held.
func (s *stream) appendData(p []byte, end bool, trailers []wire.Field) (rest []byte) {
	c := s.conn
	ends := end && !anySent(trailers)
	for len(p) > 0 {
		n := int(min(int64(len(p)), http2.FrameSize, s.sendWindow, c.sendWindow))
		if n <= 0 || len(c.out) > mostOut {
			return p
		}
		flags := http2.Flags(0)
		if ends && n == len(p) {
			flags, s.sentEnd = http2.FlagEndStream, true
		}
		c.add(append(http2.AppendHeader(c.out, n, http2.Data, flags, s.id), p[:n]...))
		s.sendWindow, c.sendWindow = s.sendWindow-int64(n), c.sendWindow-int64(n)
		c.useful(n)
		p = p[n:]
	}
	switch {
	case !end || s.sentEnd:
	case ends:
		c.add(http2.AppendHeader(c.out, 0, http2.Data, http2.FlagEndStream, s.id))
		s.sentEnd = true
	default:
		var block []byte
		if c.peer.tableSize {
			block, c.peer.tableSize = append(block, http2.NoTable), false
		}
		c.add(http2.AppendBlock(c.out, http2.AppendFields(block, trailers), http2.FlagEndStream, s.id, http2.FrameSize))
		s.sentEnd = true
	}
	s.closeIfOver()
	return nil
}

func anySent(fields []wire.Field) bool {
	for i := range fields {
		if fields[i].Kind != wire.Dropped {
			return true
		}
	}
	return false
}
