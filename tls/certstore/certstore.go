// Package certstore answers: where are certificates stored?
//
// A Store keeps small records at paths, with check-and-set, a way to wait for changes,
// and one leader among all that share it. Variables keeps them in Nomad's Variables,
// for a whole cluster; Directory in files, for one node.
package certstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// The errors of a Store, for errors.Is. Every other error means that the store could
// not be read: then nothing is known, and in particular not that a record is missing.
var (
	// ErrNotFound: the store says for certain that there is no such record.
	ErrNotFound = errors.New("no such record")
	// ErrConflict: the record's version is not the given one.
	ErrConflict = errors.New("the record was changed by another")
)

// Record is what is stored at one path.
type Record struct {
	Path  string
	Items map[string]string
	// Version changes with every write of this path.
	Version uint64
}

// Entry describes a record in a list.
type Entry struct {
	Path    string
	Version uint64
}

// Store keeps records. Paths are made by Path. All methods may be called concurrently;
// they end when ctx does.
type Store interface {
	// Get returns the newest record, or ErrNotFound. A damaged record has no items, so
	// that it can be replaced.
	Get(ctx context.Context, path string) (*Record, error)
	// Read returns a record of at least that version, as given in a list, or the
	// current record when versions have no order. It may cost the store less than Get;
	// with Newest it is the same.
	Read(ctx context.Context, path string, least uint64) (*Record, error)
	// Put writes a record if its version is still the given one, 0 for no record, and
	// returns its new version; otherwise it fails with ErrConflict.
	Put(ctx context.Context, path string, items map[string]string, version uint64) (uint64, error)
	// Delete removes a record; a missing record is no error.
	Delete(ctx context.Context, path string) error
	// List returns the records below a path. With the index of an earlier answer it
	// waits until something has changed, or for a minute or more.
	List(ctx context.Context, below string, index uint64) (entries []Entry, newIndex uint64, err error)
	// ListNewest is List without a wait, and includes all writes made before the call.
	// It costs the store more than List does.
	ListNewest(ctx context.Context, below string) ([]Entry, error)
	// Lead calls lead whenever this process becomes the only leader among all that
	// share the store, until ctx ends, whose error it returns. The context of lead ends
	// when that may no longer be true. Name tells others who leads. Leadership is
	// advice, not a fence: writes that matter give the version that they replace.
	Lead(ctx context.Context, name string, lead func(context.Context)) error
	// Leader returns the name of the leader, or of the last one; empty if there was
	// none.
	Leader(ctx context.Context) (string, error)
}

// Newest is higher than the version of any record.
const Newest = 1<<64 - 1

const (
	// maxPart and maxPath leave room for the prefix of Variables in the 128 bytes that
	// Nomad permits for a path.
	maxPart = 48
	maxPath = 120
)

// Path joins the parts of a path. Each is written with the bytes that Nomad permits,
// "~d" for a dot and ~XX for others, and as a hash when it is too long. Different parts
// make different paths; a record whose original name matters has it among its items.
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

// hashed is the length of a part that is a hash.
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
