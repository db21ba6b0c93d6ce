package proxy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"

	"serai/wire"
)

// TraceID and SpanID are those of W3C Trace Context; zero is not valid.
type (
	TraceID [16]byte
	SpanID  [8]byte
)

// Bits of the flags of a traceparent: whether it is recorded, and whether its ID is random.
const (
	flagSampled = 1
	flagRandom  = 2
)

// traceParent is a field traceparent (https://www.w3.org/TR/trace-context/#traceparent-header).
type traceParent struct {
	id    TraceID
	span  SpanID
	flags byte
}

// traceParentSize is the length of version 00, and the least one of later versions.
const traceParentSize = 55

// parseTraceParent reads a field. A later version may have more after its flags.
func parseTraceParent(v []byte) (p traceParent, ok bool) {
	var version, flags [1]byte
	switch {
	case len(v) < traceParentSize || v[2] != '-' || v[35] != '-' || v[52] != '-':
		return p, false
	case !lowerHex(version[:], v[:2]) || version[0] == 0xff || !lowerHex(p.id[:], v[3:35]) || !lowerHex(p.span[:], v[36:52]) || !lowerHex(flags[:], v[53:55]):
		return p, false
	case version[0] == 0 && len(v) != traceParentSize || len(v) > traceParentSize && v[55] != '-':
		return p, false
	}
	p.flags = flags[0] & (flagSampled | flagRandom) // the others must be zero
	return p, p.id != TraceID{} && p.span != SpanID{}
}

// lowerHex decodes lower-case digits alone.
func lowerHex(dst, src []byte) bool {
	for _, c := range src {
		if c >= 'A' && c <= 'F' {
			return false
		}
	}
	n, err := hex.Decode(dst, src)
	return err == nil && n == len(dst)
}

// append appends the field in version 00.
func (p *traceParent) append(b []byte) []byte {
	n := len(b)
	b = slices.Grow(b, traceParentSize)[:n+traceParentSize]
	f := (*[traceParentSize]byte)(b[n:])
	f[0], f[1], f[2], f[35], f[52], f[53], f[54] = '0', '0', '-', '-', '-', '0', '0'+p.flags
	hex.Encode(f[3:], p.id[:])
	hex.Encode(f[36:], p.span[:])
	return b
}

// putHex writes the digits of a number, all at once.
func putHex(dst *[8]byte, number uint32) {
	n := uint64(number)
	n = (n | n<<16) & 0x0000ffff0000ffff
	n = (n | n<<8) & 0x00ff00ff00ff00ff
	n = (n | n<<4) & nibbles
	binary.BigEndian.PutUint64(dst[:], hexDigits(n))
}

// Bounds of tracestate (https://www.w3.org/TR/trace-context/#tracestate-limits), in bytes
// and in members.
const (
	maxTraceState        = 512
	maxTraceStateMembers = 32
)

// traceState collects the members of a tracestate from its fields. Full says that one did
// not fit: it is left out, with all that follow.
type traceState struct {
	list    []byte
	members int
	full    bool
}

// add adds the members of a field. It reports false where the whole state must be
// discarded: a member is malformed, or there are too many.
func (s *traceState) add(list []byte) bool {
	for member := range bytes.SplitSeq(list, []byte{','}) {
		if member = bytes.Trim(member, " \t"); len(member) == 0 {
			continue // an empty member is allowed
		}
		if s.members++; s.members > maxTraceStateMembers || !validMember(member) {
			return false
		}
		if s.full = s.full || len(s.list)+1+len(member) > maxTraceState; s.full {
			continue
		}
		if len(s.list) > 0 {
			s.list = append(s.list, ',')
		}
		s.list = append(s.list, member...)
	}
	return true
}

// validMember reports whether a member has a key and a value of the characters that the
// specification allows.
func validMember(m []byte) bool {
	key, value, found := bytes.Cut(m, []byte{'='})
	if !found || len(key) == 0 || len(key) > 256 || len(value) == 0 || len(value) > 256 {
		return false
	}
	for i, c := range key {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && bytes.IndexByte([]byte("_-*/@"), c) >= 0) {
			return false
		}
	}
	for _, c := range value {
		if c < 0x20 || c > 0x7e || c == '=' {
			return false
		}
	}
	return true
}

var (
	nameTraceParent = []byte("traceparent")
	nameTraceState  = []byte("tracestate")
)

func isTraceParent(f *wire.Field) bool {
	return len(f.Name) == len(nameTraceParent) && wire.EqualFold(f.Name, "traceparent")
}

func isTraceState(f *wire.Field) bool {
	return len(f.Name) == len(nameTraceState) && wire.EqualFold(f.Name, "tracestate")
}

// namesTrace reports whether the client may have sent one of the fields: few have, and the
// first look at a name says so of nearly all others.
func (x *Exchange) namesTrace() bool {
	for i := range x.Head.Fields {
		name := x.Head.Fields[i].Name
		if (len(name) == len("traceparent") || len(name) == len("tracestate")) && name[0]|0x20 == 't' {
			return true
		}
	}
	return false
}

// dropTraceFields marks them in trailers as not to be sent on.
func dropTraceFields(trailers []wire.Field) {
	for i := range trailers {
		if f := &trailers[i]; isTraceParent(f) || isTraceState(f) {
			f.Kind = wire.Dropped
		}
	}
}

// takeTraceFields takes the client's fields: whatever goes on is made anew. There must be
// one traceparent, and only with it the tracestate counts, which is written to list.
func (x *Exchange) takeTraceFields(list []byte) (p traceParent, _ []byte, ok bool) {
	state, valid, parents := traceState{list: list[:0]}, true, 0
	for i := range x.Head.Fields {
		switch f := &x.Head.Fields[i]; {
		case isTraceParent(f):
			f.Kind = wire.Dropped
			parents++
			p, ok = parseTraceParent(f.Value)
		case isTraceState(f):
			f.Kind = wire.Dropped
			valid = valid && state.add(f.Value)
		}
	}
	if ok = ok && parents == 1; !ok {
		p = traceParent{}
	}
	if !ok || !valid {
		state.list = state.list[:0]
	}
	return p, state.list, ok
}

// appendTraceFields appends the fields for whoever is asked next. A route that is not traced
// passes the client's on.
func (x *Exchange) appendTraceFields(dst []wire.Field) []wire.Field {
	traced := x.traced()
	if x.trace == nil && x.Member != nil && traced { // nearly all
		x.tracer.own.put(&x.sent, x.random)
		return wire.Add(dst, nameTraceParent, x.sent[:], wire.Other)
	}
	r := x.written()
	p := traceParent{id: r.ID, flags: r.asked & flagRandom}
	if r.Sampled {
		p.flags |= flagSampled
	}
	if !traced {
		if r.Parent == (SpanID{}) {
			return dst
		}
		p.span, p.flags = r.Parent, r.asked
	} else if n := len(r.Attempts); n > 0 {
		p.span = r.Attempts[n-1].Span
	} else {
		p.span = r.spanID()
	}
	dst = wire.Add(dst, nameTraceParent, x.values.Keep(p.append(x.values.Start())), wire.Other)
	if len(r.State) > 0 {
		dst = wire.Add(dst, nameTraceState, r.State, wire.Other)
	}
	return dst
}

// ownParent is the traceparent of the requests that begin a trace here and are not recorded. As
// nearly all are such, it is made with little work, and nothing is kept for it: the first half
// of the ID is the same for all requests, and the second a random number, which is what samplers and the
// specification go by (https://www.w3.org/TR/trace-context-2/#random-trace-id-flag). The first half is the
// ID of the span, too, of which a trace has no other.
type ownParent struct {
	text [traceParentSize]byte
	span SpanID
}

func newOwnParent() (o ownParent) {
	p := traceParent{span: newSpanID()}
	copy(p.id[:], p.span[:])
	o.span = p.span
	p.append(o.text[:0])
	return o
}

// newTraceID makes the ID of a trace that begins here. Its second half is the random number by
// which takes decides, as samplers by ID read it: an instance with the same share takes the same.
func newTraceID(half SpanID, random uint64) (id TraceID) {
	copy(id[:], half[:])
	binary.BigEndian.PutUint64(id[8:], random)
	return id
}

// put writes the field with a random number.
func (o *ownParent) put(dst *[traceParentSize]byte, random uint64) {
	*dst = o.text
	putHex((*[8]byte)(dst[19:]), uint32(random>>32))
	putHex((*[8]byte)(dst[27:]), uint32(random))
}

// newSpanID makes an ID, which is no secret. One of zeros is not valid.
func newSpanID() (id SpanID) {
	for id == (SpanID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}
