package policy

import "sync/atomic"

// Limits bound what policies make of each message, and count what is beyond. One Limits is
// for all routes. Nil has the defaults, and counts nothing.
type Limits struct {
	path, made int
	omitted    atomic.Uint64
}

// The defaults of NewLimits, in bytes.
const (
	DefaultPath = 4 << 10
	DefaultMade = 8 << 10
)

// NewLimits makes Limits with so many bytes, or the defaults where they are 0. Path is of a
// path that is rewritten, before and after. Made is of what all placeholders of a message's
// fields together are replaced by: a value beyond it is left out, because most servers refuse
// heads that are much larger.
func NewLimits(path, made int) *Limits { return &Limits{path: path, made: made} }

// Omitted counts the fields that were left out because their values were too long.
func (l *Limits) Omitted() uint64 { return l.omitted.Load() }

func (l *Limits) longestPath() int {
	if l == nil || l.path == 0 {
		return DefaultPath
	}
	return l.path
}

func (l *Limits) mostMade() int {
	if l == nil || l.made == 0 {
		return DefaultMade
	}
	return l.made
}

func (l *Limits) omit() {
	if l != nil {
		l.omitted.Add(1)
	}
}
