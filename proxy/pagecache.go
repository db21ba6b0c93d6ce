package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/internal/quota"
	"serai/policy"
	"serai/router"
)

// staleFactor times the Keep of a page is how long it may still be shown while a new
// one is fetched, so that nobody waits for a page that is used often. The same applies
// to a page that could not be fetched.
const staleFactor = 6

// failedPageRetry is how long a page that could not be fetched is not fetched again.
const failedPageRetry = time.Second

// pages has the error pages of all routes.
type pages struct {
	options PageOptions
	proxy   *Proxy
	logger  *slog.Logger
	client  memory.Client // the pages' part of the memory of clients
	fetch   func(pageKey, *router.Route) (*page, error)

	running sync.WaitGroup // fetches that run

	mu       sync.Mutex
	known    map[pageKey]*pageEntry
	used     map[string]int64 // bytes by namespace
	bytes    int64
	fetching map[string]int // by namespace
	underWay int            // sum of fetching
	logged   quota.Seldom   // lines about failed fetches
	counts   PageStatus
}

// pageKey identifies a page.
type pageKey struct{ namespace, service, host, target string }

// pageEntry is what is known about one page.
type pageEntry struct {
	key pageKey
	// content is nil if the last fetch, which ended at that time, failed.
	content *page
	at      time.Time
	used    time.Time
	ended   chan struct{} // closed when the current fetch ends; nil for none
}

// page is a page that answers show. Never modified, except for users, which pages.mu
// guards.
type page struct {
	policy.Page
	body      []byte
	namespace string
	users     int // answers that show it, and the entry that has it
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

// get returns a page, nil if there is none. Many requests for it at once cause one
// fetch. Nobody waits for a page that is known.
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
	known := !e.at.IsZero() && age < staleFactor*s.options.Keep
	fresh := s.options.Keep
	if e.content == nil {
		fresh = min(fresh, failedPageRetry)
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

// wait waits for the end of a fetch, and reports whether it came in time.
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

// entry returns the entry of a page, and makes it if necessary. It is nil if there is
// no memory. s.mu is held.
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

// begin starts to fetch a page, unless too many are being fetched. s.mu is held.
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

// settle records the result of a fetch. s.mu is held.
func (s *pages) settle(e *pageEntry, content *page, err error) {
	of := e.key.namespace
	s.underWay--
	if s.fetching[of]--; s.fetching[of] == 0 {
		delete(s.fetching, of)
	}
	if err != nil {
		s.counts.Failed++
		s.logFailure(e, err)
	}
	if same := e.content; content != nil && same != nil && bytes.Equal(content.body, same.body) && bytes.Equal(content.Type, same.Type) && bytes.Equal(content.Language, same.Language) {
		s.releaseLocked(content) // one copy, however many clients read it slowly
	} else {
		s.releaseLocked(e.content)
		e.content = content
	}
	e.at = time.Now()
	close(e.ended)
	e.ended = nil
}

// pageLogInterval is the time between two log lines about failed fetches.
const pageLogInterval = 10 * time.Second

// logFailure logs why a page could not be fetched. s.mu is held.
func (s *pages) logFailure(e *pageEntry, err error) {
	s.warn("namespace", e.key.namespace, "service", e.key.service, "page", e.key.target, "error", err)
}

// miss counts and logs that there is no service to fetch a page from.
func (s *pages) miss(x *Exchange, e *policy.Errors, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts.Missed++
	s.warn("namespace", x.Route.Namespace, "service", x.Route.Service, "route", x.Route.Name, "pages", e.Service, "error", why)
}

// warn logs, at most once in pageLogInterval.
func (s *pages) warn(args ...any) {
	if notLogged, now := s.logged.Take(time.Now(), pageLogInterval); now {
		s.logger.Warn("an error page cannot be fetched: the response keeps its own body", append(args, "not_logged", notLogged)...)
	}
}

// errNoRoom means that there was no memory for the rest of a page.
var errNoRoom = errors.New("there is no memory for it")

// errTooLarge means that a page is too large.
func (s *pages) errTooLarge() error {
	return fmt.Errorf("it has more than %d bytes", s.options.MaxBytes)
}
