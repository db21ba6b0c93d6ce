package proxy

import (
	"errors"
	"time"

	"serai/internal/memory"
)

// PageOptions bound the cost of the error pages of all routes. Zero values mean the
// defaults given here.
type PageOptions struct {
	// MaxBytes bounds a page, 256 KiB, and MaxMemory all pages that are kept or sent, 4
	// MiB. A namespace may have half of it, and the one that has the most makes room for
	// others.
	MaxBytes, MaxMemory int64
	// Timeout bounds a fetch, 2s.
	Timeout time.Duration
	// Keep is how long a page is shown before it is fetched again, 10s; negative keeps
	// none.
	Keep time.Duration
	// MaxFetches bounds the fetches at once, 64; a namespace may have a quarter of them.
	MaxFetches int
	// Memory is the memory that clients share, of which pages use a part; nil means no
	// limit.
	Memory *memory.Budget
}

func (o *PageOptions) validate() error {
	if o.MaxBytes < 0 || o.MaxMemory < 0 || o.Timeout < 0 || o.MaxFetches < 0 {
		return errors.New("a limit of error pages is negative")
	}
	return nil
}

func (o *PageOptions) setDefaults() {
	setDefault(&o.MaxBytes, 256<<10)
	setDefault(&o.MaxMemory, 4<<20)
	setDefault(&o.Timeout, 2*time.Second)
	setDefault(&o.Keep, 10*time.Second)
	setDefault(&o.MaxFetches, 64)
	o.Keep = max(o.Keep, 0)
}

// PageStatus is the state of the error pages.
type PageStatus struct {
	// Shown counts answers with a page, Missed those for which there was none.
	Shown, Missed uint64
	// Fetched counts fetches, Failed those that failed, and Refused those that
	// MaxFetches or MaxMemory did not allow.
	Fetched, Failed, Refused uint64
	// Pages is the number of pages that are kept. They use Bytes of Limit.
	Pages        int
	Bytes, Limit int64
}

// Pages returns the state of the error pages.
func (p *Proxy) Pages() PageStatus {
	s := p.pages
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.counts
	status.Pages, status.Bytes, status.Limit = len(s.known), s.bytes, s.options.MaxMemory
	return status
}

// Close waits for fetches of pages that still run. Call it when no request is served
// any more.
func (p *Proxy) Close() { p.pages.running.Wait() }
