package http2

import (
	"golang.org/x/net/http2/hpack"

	"serai/wire"
)

// Pseudo is a pseudo-header field (RFC 9113 section 8.3).
type Pseudo uint8

// The pseudo-fields. NoPseudo is every other field.
const (
	NoPseudo Pseudo = iota
	Method
	Scheme
	Path
	Authority
	Status
	Protocol // RFC 8441
	UnknownPseudo
)

// Entry is a decoded field and what is known about it. It is checked once, when it
// enters a table.
type Entry struct {
	Name, Value []byte
	Pseudo      Pseudo
	Kind        wire.Kind   // of a field that is no pseudo-field
	Flaw        *wire.Error // why any message with it is refused, nil if none is
}

// size is the size of an entry in a table (RFC 7541 section 4.1).
func (e *Entry) size() int { return len(e.Name) + len(e.Value) + overhead }

const overhead = 32

// classifyName sets the kind of the name.
func (e *Entry) classifyName() {
	e.Flaw, e.Kind, e.Pseudo = nil, wire.Other, NoPseudo
	if len(e.Name) > 0 && e.Name[0] == ':' {
		e.Pseudo = pseudoOf(e.Name)
		return
	}
	kind, ok := wire.LowerKind(e.Name)
	e.Kind = kind
	if !ok {
		e.Flaw = wire.ErrFieldName
	}
}

// classifyValue checks whether the value may be sent on.
func (e *Entry) classifyValue() {
	if e.Flaw == nil && !wire.CleanValue(e.Value) {
		e.Flaw = wire.ErrFieldValue
	}
}

func pseudoOf(name []byte) Pseudo {
	switch string(name) {
	case ":method":
		return Method
	case ":scheme":
		return Scheme
	case ":path":
		return Path
	case ":authority":
		return Authority
	case ":status":
		return Status
	case ":protocol":
		return Protocol
	}
	return UnknownPseudo
}

// static is the table of RFC 7541 appendix A, with indexes from 1. It never changes.
var static = func() (t [62]Entry) {
	// The library has the table, but does not export it; its decoder shows it.
	d := hpack.NewDecoder(0, nil)
	for i := 1; i < len(t); i++ {
		f, err := d.DecodeFull([]byte{0x80 | byte(i)})
		if err != nil || len(f) != 1 {
			panic("http2: the static table has no entry " + string(rune('0'+i)))
		}
		e := &t[i]
		e.Name, e.Value = []byte(f[0].Name), []byte(f[0].Value)
		e.classifyName()
		e.classifyValue()
	}
	return t
}()

// table is a dynamic table: a ring of entries, and their bytes in order. It uses no
// memory before the first entry.
type table struct {
	entries []Entry // a ring of which n entries are used, starting with first
	first   int
	n       int
	bytes   []byte
	size    int // as RFC 7541 counts it
	most    int
}

// at returns the entry with index i, where 1 is the newest; nil when there is none.
func (t *table) at(i uint64) *Entry {
	if i == 0 || i > uint64(t.n) {
		return nil
	}
	return &t.entries[(t.first+t.n-int(i))%len(t.entries)]
}

// resize sets the largest size to most, and evicts entries beyond it.
func (t *table) resize(most int) {
	t.most = most
	t.evict(0)
}

// evict makes room for that many bytes.
func (t *table) evict(room int) {
	for t.n > 0 && t.size+room > t.most {
		e := &t.entries[t.first]
		t.size -= e.size()
		*e = Entry{}
		t.first = (t.first + 1) % len(t.entries)
		t.n--
	}
}

// add adds a copy of e, whose bytes must not be those of the table.
func (t *table) add(e *Entry) {
	size := e.size()
	if size > t.most {
		t.evict(t.most + 1)
		return
	}
	// Its bytes stay where they are until the table is compacted.
	kept := *e
	t.evict(size)
	need := len(kept.Name) + len(kept.Value)
	if len(t.bytes)+need > cap(t.bytes) {
		t.compact(need)
	}
	if t.n == len(t.entries) {
		t.grow()
	}
	start := len(t.bytes)
	t.bytes = append(append(t.bytes, kept.Name...), kept.Value...)
	middle := start + len(kept.Name)
	kept.Name, kept.Value = t.bytes[start:middle:middle], t.bytes[middle:len(t.bytes):len(t.bytes)]
	t.entries[(t.first+t.n)%len(t.entries)] = kept
	t.n++
	t.size += size
}

// grow makes room for more entries.
func (t *table) grow() {
	more := make([]Entry, max(8, 2*len(t.entries)))
	for i := range t.n {
		more[i] = t.entries[(t.first+i)%len(t.entries)]
	}
	t.entries, t.first = more, 0
}

// compact makes room for need more bytes. The bytes of the entries are in order, so
// only those from the start of the oldest entry on are used. They move to the front, or
// to memory of twice the size if that would soon be necessary again.
func (t *table) compact(need int) {
	used := 0
	for i := range t.n {
		e := &t.entries[(t.first+i)%len(t.entries)]
		used += len(e.Name) + len(e.Value)
	}
	moved := t.bytes[:0]
	if 2*(used+need) > cap(moved) {
		moved = make([]byte, 0, max(256, 2*(used+need)))
	}
	moved = append(moved, t.bytes[len(t.bytes)-used:]...)
	t.bytes = moved
	for i := range t.n {
		e := &t.entries[(t.first+i)%len(t.entries)]
		name, value := len(e.Name), len(e.Value)
		e.Name, e.Value, moved = moved[:name:name], moved[name:name+value:name+value], moved[name+value:]
	}
}
