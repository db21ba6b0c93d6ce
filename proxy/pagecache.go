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
	fetch   func(pageKey, *router.Route) (*page, error)

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
	s.fetch = s.ask
	s.client.Join(o.Memory)
	return s
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

// errNoRoom is why a page was not read to its end.
var errNoRoom = errors.New("there is no memory for it")

// errTooLarge says that a page is too large.
func (s *pages) errTooLarge() error {
	return fmt.Errorf("it has more than %d bytes", s.options.MaxBytes)
}
