package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/policy"
	"serai/router"
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

// staleTimes is how many times as long as it is kept a page, or that there was none, is
// still good while it is asked for again; so nobody waits for a page that is used.
const staleTimes = 6

// failedAgain is how long a page that could not be had is not asked for again.
const failedAgain = time.Second

// pages are the error pages of all routes.
type pages struct {
	options PageOptions
	proxy   *Proxy
	logger  *slog.Logger
	client  memory.Client // takes of the memory of clients

	running sync.WaitGroup // fetches

	mu       sync.Mutex
	known    map[pageKey]*pageEntry
	used     map[string]int64 // bytes by namespace
	bytes    int64
	fetching map[string]int // by namespace
	underWay int
	told     time.Time // when a page that could not be had was last logged
	untold   uint64
	counts   PageStatus
}

// pageKey is where a page is.
type pageKey struct{ namespace, service, host, target string }

// pageEntry is what is known of one page.
type pageEntry struct {
	key pageKey
	// content is nil if the last fetch, which ended at that time, brought none.
	content *page
	at      time.Time
	used    time.Time
	ended   chan struct{} // closed when the fetch under way ends; nil for none
}

// entryBytes is what an entry without its page takes.
const entryBytes = 1 << 10

// page is a page that answers show. Never modified but for users, which pages.mu guards.
type page struct {
	policy.Page
	body      []byte
	namespace string
	users     int // answers, and the entry that has it
}

func newPages(p *Proxy, o PageOptions) *pages {
	o.setDefaults()
	s := &pages{
		options: o, proxy: p, logger: p.options.Logger,
		known: make(map[pageKey]*pageEntry), used: make(map[string]int64), fetching: make(map[string]int),
	}
	s.client.Join(o.Memory)
	return s
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

// get returns a page, nil if it cannot be had. Many who want it at once cost one fetch;
// who wants one that is known does not wait.
func (s *pages) get(x *Exchange, r *router.Route, target string) *page {
	key := pageKey{r.Namespace, r.Service, r.Host, target}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(key)
	if e == nil {
		s.counts.Refused++
		s.counts.Missed++
		return nil
	}
	e.used = x.Now
	age := x.Now.Sub(e.at)
	known := !e.at.IsZero() && age < staleTimes*s.options.Keep
	fresh := s.options.Keep
	if e.content == nil {
		fresh = min(fresh, failedAgain)
	}
	if (!known || age >= fresh) && e.ended == nil {
		s.begin(e, r)
	}
	if ended := e.ended; !known && ended != nil {
		s.mu.Unlock()
		known = s.wait(x, ended)
		s.mu.Lock()
	}
	if !known || e.content == nil {
		s.counts.Missed++
		return nil
	}
	s.counts.Shown++
	e.content.users++
	return e.content
}

// wait waits for the end of a fetch, and reports whether it came.
func (s *pages) wait(x *Exchange, ended <-chan struct{}) (came bool) {
	late := time.NewTimer(s.options.Timeout)
	defer late.Stop()
	x.Wait(func(gone <-chan struct{}) {
		select {
		case <-ended:
			came = true
		case <-late.C:
		case <-gone:
		}
	})
	return came
}

// letGo ends the use of a page.
func (s *pages) letGo(c *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(c)
}

// release is letGo with s.mu held. Nil is no page.
func (s *pages) release(c *page) {
	if c == nil {
		return
	}
	if c.users--; c.users == 0 {
		s.give(c.namespace, int64(len(c.body)))
	}
}

// entry returns the entry of a page, which it makes, nil if there is no memory. S.mu is
// held.
func (s *pages) entry(key pageKey) *pageEntry {
	if e := s.known[key]; e != nil {
		return e
	}
	if !s.take(key.namespace, entryBytes) {
		return nil
	}
	e := &pageEntry{key: key}
	s.known[key] = e
	return e
}

// take takes memory, and reports whether there is any: pages that are not being sent make
// room, those of the namespace itself if it has its half, else of the one that has the
// most. S.mu is held.
func (s *pages) take(namespace string, n int64) bool {
	for {
		from := ""
		switch own := s.used[namespace]; {
		case own+n > s.options.MaxMemory/2:
			from = namespace
		case s.bytes+n > s.options.MaxMemory:
			for other, bytes := range s.used {
				if from == "" || bytes > s.used[from] {
					from = other
				}
			}
		case !s.client.Take(memory.Buffers, n):
			return false
		default:
			s.used[namespace] += n
			s.bytes += n
			return true
		}
		if !s.evict(from) {
			return false
		}
	}
}

// give gives memory back. S.mu is held.
func (s *pages) give(namespace string, n int64) {
	s.client.Give(memory.Buffers, n)
	s.bytes -= n
	if s.used[namespace] -= n; s.used[namespace] == 0 {
		delete(s.used, namespace)
	}
}

// evict forgets the page of a namespace that was not used for the longest time, and
// reports whether there is one that nobody needs now. S.mu is held.
func (s *pages) evict(namespace string) bool {
	var oldest *pageEntry
	for _, e := range s.known {
		if e.key.namespace != namespace || e.ended != nil || e.content != nil && e.content.users > 1 {
			continue
		}
		if oldest == nil || e.used.Before(oldest.used) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.known, oldest.key)
	s.release(oldest.content)
	oldest.content = nil // who has just waited for it may still look
	s.give(namespace, entryBytes)
	return true
}

// begin begins to fetch a page if not too many are being fetched. S.mu is held.
func (s *pages) begin(e *pageEntry, r *router.Route) {
	of := e.key.namespace
	if s.underWay >= s.options.MaxFetches || s.fetching[of] >= max(1, s.options.MaxFetches/4) {
		s.counts.Refused++
		return
	}
	s.underWay++
	s.fetching[of]++
	s.counts.Fetched++
	e.ended = make(chan struct{})
	s.running.Go(func() {
		content, err := s.fetch(e.key, r)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.settle(e, content, err)
	})
}

// settle notes what a fetch has brought. S.mu is held.
func (s *pages) settle(e *pageEntry, content *page, err error) {
	of := e.key.namespace
	s.underWay--
	if s.fetching[of]--; s.fetching[of] == 0 {
		delete(s.fetching, of)
	}
	if err != nil {
		s.counts.Failed++
		s.tell(e, err)
	}
	if same := e.content; content != nil && same != nil && bytes.Equal(content.body, same.body) && bytes.Equal(content.Type, same.Type) && bytes.Equal(content.Language, same.Language) {
		s.release(content) // so that clients that read slowly hold one copy and not many
	} else {
		s.release(e.content)
		e.content = content
	}
	e.at = time.Now()
	close(e.ended)
	e.ended = nil
}

// tellPages is the time between two lines about pages that cannot be had.
const tellPages = 10 * time.Second

// tell logs why a page cannot be had, once in a while. S.mu is held.
func (s *pages) tell(e *pageEntry, err error) {
	s.warn("namespace", e.key.namespace, "service", e.key.service, "page", e.key.target, "error", err)
}

// miss counts, and tells of, a page that nobody can be asked for.
func (s *pages) miss(x *Exchange, e *policy.Errors, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Missed++
	s.warn("namespace", x.Route.Namespace, "service", x.Route.Service, "route", x.Route.Name, "pages", e.Service, "error", why)
}

func (s *pages) warn(args ...any) {
	now := time.Now()
	if !s.told.IsZero() && now.Sub(s.told) < tellPages {
		s.untold++
		return
	}
	s.logger.Warn("an error page cannot be had: the answer has its plain body", append(args, "not_logged", s.untold)...)
	s.told, s.untold = now, 0
}

// Close waits for what is under way beside the requests: pages that are being fetched.
// No request is served any more.
func (p *Proxy) Close() { p.pages.running.Wait() }

// errNoRoom is why a page was not read to its end.
var errNoRoom = errors.New("there is no memory for it")

// errTooLarge says that a page is too large.
func (s *pages) errTooLarge() error {
	return fmt.Errorf("it has more than %d bytes", s.options.MaxBytes)
}
