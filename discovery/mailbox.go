package discovery

import (
	"context"
	"sync"
)

// mailbox passes snapshots to a reader that may be slow. It keeps only the newest.
type mailbox struct {
	mu     sync.Mutex
	newest *Snapshot
	wake   chan struct{}
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// put replaces a snapshot that has not been read yet.
func (m *mailbox) put(s *Snapshot) {
	m.mu.Lock()
	if m.newest != nil && !m.newest.Changed.IsZero() {
		s.Changed = m.newest.Changed // it contains the older change, too
	}
	m.newest = s
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run sends what is put until ctx ends.
func (m *mailbox) run(ctx context.Context, out chan<- *Snapshot) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wake:
		}
		m.mu.Lock()
		s := m.newest
		m.newest = nil
		m.mu.Unlock()
		if s == nil {
			continue
		}
		select {
		case out <- s:
		case <-ctx.Done():
			return
		}
	}
}
