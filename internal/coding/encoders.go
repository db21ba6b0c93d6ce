package coding

import (
	"slices"
	"sync"
	"sync/atomic"

	"serai/internal/memory"
)

// Encoders makes Encoders, uses them again, and bounds the memory that they take. All
// methods may be called at the same time.
type Encoders struct {
	memory *memory.Spare
	pools  [kinds]sync.Pool // of *Encoder
	counts [kinds]counts
	none   atomic.Uint64
}

type counts struct{ bodies, refused, in, out atomic.Uint64 }

// DefaultMemory is the usual limit of NewEncoders, in bytes.
const DefaultMemory = 64 << 20

// NewEncoders makes an Encoders for so many bytes of memory; DefaultMemory when it is 0.
func NewEncoders(limit int64) *Encoders {
	if limit <= 0 {
		limit = DefaultMemory
	}
	return &Encoders{memory: memory.NewSpare(memory.Encoders, limit)}
}

// The last quarter of the memory is for what takes little: otherwise a few clients that
// read slowly would keep it from everybody.
const lightOnly = 4

// Take returns an Encoder for the first of these codings for which there is memory that
// the client may have, nil where there is none. Lasting says that the body may have no
// end: then gzip is the one that takes little. The Encoder must be Ended.
func (s *Encoders) Take(choices []Coding, client *memory.Client, lasting bool) (*Encoder, Coding) {
	for _, c := range choices {
		k := kindOf(c)
		if c == Gzip && lasting {
			k = lightGzip
		}
		if s.has(k, client) {
			return s.encoder(k, client), c
		}
	}
	if !lasting && slices.Contains(choices, Gzip) && s.has(lightGzip, client) {
		return s.encoder(lightGzip, client), Gzip
	}
	s.none.Add(1)
	return nil, 0
}

func kindOf(c Coding) kind { return kind(c) }

// has takes the memory of a kind, and reports whether it was there.
func (s *Encoders) has(k kind, client *memory.Client) bool {
	limit := s.memory.Limit()
	if k != lightGzip {
		limit -= limit / lightOnly
	}
	if !s.memory.Take(client, costs[k], limit) {
		s.counts[k].refused.Add(1)
		return false
	}
	return true
}

// encoder returns an Encoder whose memory is taken.
func (s *Encoders) encoder(k kind, client *memory.Client) *Encoder {
	e, ok := s.pools[k].Get().(*Encoder)
	if !ok {
		e = &Encoder{from: s, kind: k, out: make([]byte, 0, k.bufferSize())}
		w, err := newWriter(k, (*output)(e))
		if err != nil {
			panic(err) // the options are constants, and TestCodings tries them
		}
		e.writer = w
	} else {
		e.writer.Reset((*output)(e))
	}
	e.client = client
	return e
}

// end takes e back. One in which a library has panicked is not used again.
func (s *Encoders) end(e *Encoder) {
	n := &s.counts[e.kind]
	n.bodies.Add(1)
	n.in.Add(e.in)
	n.out.Add(e.sent)
	s.memory.Give(e.client, costs[e.kind])
	e.client, e.to = nil, nil
	if e.within {
		return
	}
	e.out, e.err, e.held, e.in, e.sent = e.out[:0], nil, false, 0, 0
	s.pools[e.kind].Put(e)
}

// Status is the state of an Encoders for /metrics.
type Status struct {
	// Memory is what all Encoders take, in bytes, Limit what they may.
	Memory, Limit int64
	// Kinds are the codings, gzip twice.
	Kinds []KindStatus
	// Uncompressed counts bodies for which there was no memory in any coding that their
	// clients take.
	Uncompressed uint64
}

// KindStatus counts what was coded in one way.
type KindStatus struct {
	Name string
	// Bodies counts those that have ended, In their bytes, and Out what was sent for
	// these. Refused is how often there was no memory.
	Bodies, In, Out, Refused uint64
}

// Status returns the counters.
func (s *Encoders) Status() Status {
	all := Status{Memory: s.memory.Taken(), Limit: s.memory.Limit(), Uncompressed: s.none.Load()}
	for k := range s.counts {
		n := &s.counts[k]
		all.Kinds = append(all.Kinds, KindStatus{kindWords[k], n.bodies.Load(), n.in.Load(), n.out.Load(), n.refused.Load()})
	}
	return all
}
