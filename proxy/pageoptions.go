package proxy

import (
	"errors"
	"time"

	"serai/internal/memory"
)

// PageOptions bound what the error pages of all routes cost. Zero values mean the
// defaults named.
type PageOptions struct {
	// MaxBytes bounds a page, 256 KiB, and MaxMemory all that are kept or sent, 4 MiB: a
	// namespace has half of it at most, and whose pages have the most make room.
	MaxBytes, MaxMemory int64
	// Timeout bounds the time that a page takes, 2s.
	Timeout time.Duration
	// Keep is how long a page is shown before it is asked for again, 10s; negative keeps
	// none.
	Keep time.Duration
	// MaxFetches bounds the pages that are asked for at once, 64; those of one namespace
	// are a quarter.
	MaxFetches int
	// Memory has what clients may use, of which pages are a part; nil for no limit.
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

// PageStatus tells of the error pages.
type PageStatus struct {
	// Shown counts answers with a page, Missed those for which it could not be had.
	Shown, Missed uint64
	// Fetched and Failed count the pages that were asked for; Refused those that were not
	// because of MaxFetches or MaxMemory.
	Fetched, Failed, Refused uint64
	// Pages are kept now, in Bytes of Limit.
	Pages        int
	Bytes, Limit int64
}

// Pages tells of the error pages.
func (p *Proxy) Pages() PageStatus {
	s := p.pages
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.counts
	status.Pages, status.Bytes, status.Limit = len(s.known), s.bytes, s.options.MaxMemory
	return status
}

// Close waits for what is under way beside the requests: pages that are being fetched.
// No request is served any more.
func (p *Proxy) Close() { p.pages.running.Wait() }
