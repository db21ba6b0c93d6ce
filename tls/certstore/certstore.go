// Package certstore answers: where do certificates live?
//
// A Store keeps small records at paths, with check-and-set, a way to wait for
// changes, and one leader among all who share it. Variables keeps them in
// Nomad's Variables, for a whole cluster; Directory in files, for one node.
package certstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The errors of a Store, for errors.Is. Every other one means that the store
// could not be asked: nothing is known then, least of all that a record is
// missing.
var (
	// ErrNotFound: the store says for certain that there is no such record.
	ErrNotFound = errors.New("no such record")
	// ErrConflict: the record is not at the version that was named.
	ErrConflict = errors.New("the record was changed by another")
)

// Record is what is kept at one path.
type Record struct {
	Path  string
	Items map[string]string
	// Version changes with every write of this path.
	Version uint64
}

// Entry is what a list says of a record.
type Entry struct {
	Path    string
	Version uint64
}

// Store keeps records. Paths are made by Path. All methods may be called at
// the same time; they end when ctx does.
type Store interface {
	// Get returns the newest record, or ErrNotFound. One that is damaged has no
	// items, so that it can be replaced.
	Get(ctx context.Context, path string) (*Record, error)
	// Read returns a record of at least that version, as an entry of a list
	// said, or what is there when versions have no order. It may cost others
	// less than Get does, which Newest makes it.
	Read(ctx context.Context, path string, least uint64) (*Record, error)
	// Put writes a record whose version is still the given one, 0 when there
	// must be none, and returns its new version; else ErrConflict.
	Put(ctx context.Context, path string, items map[string]string, version uint64) (uint64, error)
	// Delete removes a record; one that is not there is no error.
	Delete(ctx context.Context, path string) error
	// List returns the records below a path. With the index of an earlier
	// answer it waits until something has changed, or for a minute or more.
	List(ctx context.Context, below string, index uint64) (entries []Entry, newIndex uint64, err error)
	// ListNewest is List without a wait, of a state that no write before the call
	// is missing from. It costs others more than List does.
	ListNewest(ctx context.Context, below string) ([]Entry, error)
	// Lead calls lead whenever we become the only one of all who share the
	// store that does so, until ctx ends, whose error it returns. The context
	// of lead ends when that may not be true any more. Name tells others who
	// leads. Being the leader is advice, not a fence: writes that matter name
	// the version that they replace.
	Lead(ctx context.Context, name string, lead func(context.Context)) error
	// Leader returns the name of who leads or led last; empty when nobody did.
	Leader(ctx context.Context) (string, error)
}

// Newest is a version that no record reaches.
const Newest = 1<<64 - 1

const (
	// maxPart and maxPath leave room in what Nomad takes as a path, 128 bytes,
	// for the prefix that Variables adds.
	maxPart = 48
	maxPath = 120
)

// Path joins the parts of a path: each is written with the bytes that Nomad
// takes, "~d" for a dot and ~XX for others, and as a hash when it is too long.
// Different parts make different paths; a record whose true name matters
// keeps it among its items.
// Source: https://developer.hashicorp.com/nomad/docs/concepts/variables.
func Path(parts ...string) string {
	var b strings.Builder
	for i, part := range parts {
		if i > 0 {
			b.WriteByte('/')
		}
		limit := maxPart
		if i == len(parts)-1 {
			limit = max(maxPath-b.Len(), hashed)
		}
		b.WriteString(escape(part, limit))
	}
	return b.String()
}

// hashed is the length of a part that is hashed.
const hashed = 2 + 40

func escape(part string, limit int) string {
	var b strings.Builder
	for _, c := range []byte(part) {
		switch {
		case c == '.':
			b.WriteString("~d")
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "~%02X", c)
		}
	}
	if b.Len() > limit || b.Len() == 0 {
		sum := sha256.Sum256([]byte(part))
		return "~h" + hex.EncodeToString(sum[:20])
	}
	return b.String()
}
