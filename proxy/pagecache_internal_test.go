package proxy

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"serai/internal/memory"
	"serai/router"
)

// pagesFor makes the cache of error pages of a proxy, with another way to fetch them.
func pagesFor(o PageOptions, fetch func(s *pages, key pageKey) (*page, error)) *pages {
	p, err := New(Options{Router: router.NewRouter(), Pages: o})
	if err != nil {
		panic(err)
	}
	s := p.pages
	s.fetch = func(key pageKey, _ *router.Route) (*page, error) { return fetch(s, key) }
	return s
}

// brings makes a page as a fetch does.
func (s *pages) brings(key pageKey, body string) (*page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.take(key.namespace, int64(len(body))) {
		return nil, errNoRoom
	}
	return &page{body: []byte(body), namespace: key.namespace, users: 1}, nil
}

// wants asks for a page now, and returns its body, empty for none.
func (s *pages) wants(namespace, target string) string {
	x := &Exchange{}
	x.Now = time.Now()
	c := s.get(x, &router.Route{Common: &router.Common{Namespace: namespace, Service: "pages"}, Host: "a.test"}, target)
	if c == nil {
		return ""
	}
	defer s.release(c)
	return string(c.body)
}

// TestWhoWaitsForAPage: whoever wants a page that is not known, and nobody else; it is
// asked for once at a time, and again once it is as old as it may be.
func TestWhoWaitsForAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = time.Second
		fetches, fails, began := 0, false, time.Now()
		s := pagesFor(PageOptions{Keep: 10 * time.Second, Timeout: 2 * time.Second}, func(s *pages, key pageKey) (*page, error) {
			fetches++
			n, fail := fetches, fails
			time.Sleep(slow)
			if fail {
				return nil, errors.New("no page")
			}
			return s.brings(key, fmt.Sprint("page ", n))
		})
		at := func(when time.Duration, want string, waits time.Duration, fetched int) {
			t.Helper()
			time.Sleep(when - time.Since(began))
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if got := s.wants("default", "/404"); got != want || time.Since(began) != when+waits {
						t.Errorf("at %v there is %q after %v, want %q after %v", when, got, time.Since(began)-when, want, waits)
					}
				})
			}
			all.Wait()
			synctest.Wait()
			if fetches != fetched {
				t.Errorf("at %v it has been fetched %d times, want %d", when, fetches, fetched)
			}
		}
		at(0, "page 1", slow, 1)
		at(5*time.Second, "page 1", 0, 1)
		at(12*time.Second, "page 1", 0, 2)
		at(14*time.Second, "page 2", 0, 2)
		fails = true
		at(24*time.Second, "page 2", 0, 3)
		at(26*time.Second, "", 0, 4) // not there a second ago: it is asked for again
		at(26*time.Second+slow/2, "", 0, 4)
		fails = false
		at(28*time.Second+slow/2, "", 0, 5)
		at(30*time.Second, "page 5", 0, 5)
		at(5*time.Minute, "page 6", slow, 6)
		s.running.Wait()
	})
}

// TestPageThatNeverComes: nobody waits longer than the timeout, and once it is known that
// there is none, nobody waits.
func TestPageThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		s := pagesFor(PageOptions{Timeout: 2 * time.Second}, func(*pages, pageKey) (*page, error) {
			<-end
			return nil, errors.New("no page")
		})
		began := time.Now()
		if got := s.wants("default", "/"); got != "" || time.Since(began) != 2*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		close(end)
		s.running.Wait()
		began = time.Now()
		if got := s.wants("default", "/"); got != "" || time.Since(began) != 0 {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		s.running.Wait()
	})
}

// TestFetchesAreShared: one namespace whose pages never come has a quarter of the
// fetches, and another one's come.
func TestFetchesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		s := pagesFor(PageOptions{MaxFetches: 8, Timeout: time.Second}, func(s *pages, key pageKey) (*page, error) {
			if key.namespace == "hostile" {
				<-end
			}
			return s.brings(key, "page")
		})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { s.wants("hostile", fmt.Sprint(i)) })
		}
		all.Wait()
		if c := s.proxy.Pages(); c.Fetched != 2 || c.Refused != 18 || c.Missed != 20 {
			t.Errorf("counted %+v", c)
		}
		if got := s.wants("other", "/"); got != "page" {
			t.Errorf("another namespace gets %q", got)
		}
		close(end)
		s.running.Wait()
	})
}

// TestSlowReadersOfOnePage: a page that is the same each time is there once, however many
// clients still read an earlier copy.
func TestSlowReadersOfOnePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pagesFor(PageOptions{Keep: time.Second}, func(s *pages, key pageKey) (*page, error) { return s.brings(key, "0123456789") })
		for range 50 {
			x := &Exchange{}
			x.Now = time.Now()
			if s.get(x, &router.Route{Common: &router.Common{Namespace: "default"}}, "/") == nil {
				t.Fatal("there is no page")
			}
			time.Sleep(2 * time.Second)
		}
		s.running.Wait()
		if c := s.proxy.Pages(); c.Bytes != entryBytes+10 || c.Fetched < 25 {
			t.Errorf("counted %+v", c)
		}
	})
}

// TestPagesModel goes through random uses of pages: the memory is never exceeded, by all
// nor by one namespace, what is counted is what is there, and all that is given back can be
// taken again. A namespace that has little finds room, unless what others have is being
// sent.
func TestPagesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(4*entryBytes, 64*entryBytes).Draw(t, "limit")
		budget := memory.NewBudget(1 << 30)
		s := pagesFor(PageOptions{MaxMemory: limit, Memory: budget}, nil)
		var held []*page
		now := time.Now()
		key := func() pageKey {
			return pageKey{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace"), "pages", "a.test", rapid.SampledFrom([]string{"/1", "/2", "/3", "/4"}).Draw(t, "target")}
		}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Second)
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // a fetch ends
				k := key()
				s.mu.Lock()
				e := s.entry(k)
				if e == nil {
					s.mu.Unlock()
					continue
				}
				e.used, e.ended = now, make(chan struct{})
				s.underWay++
				s.fetching[k.namespace]++
				s.mu.Unlock()
				content, err := s.brings(k, string(make([]byte, rapid.Int64Range(0, limit).Draw(t, "size"))))
				if err == nil && rapid.Bool().Draw(t, "fails") {
					s.mu.Lock()
					s.give(k.namespace, int64(len(content.body)))
					s.mu.Unlock()
					content, err = nil, errors.New("no page")
				}
				s.mu.Lock()
				s.settle(e, content, err)
				s.mu.Unlock()
			case 1: // a page is sent
				s.mu.Lock()
				if e := s.known[key()]; e != nil && e.content != nil {
					e.used = now
					e.content.users++
					held = append(held, e.content)
				}
				s.mu.Unlock()
			case 2: // and has been
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
					s.release(held[i])
					held = append(held[:i], held[i+1:]...)
				}
			case 3:
				if len(held) == 0 && len(s.used) < 3 {
					s.mu.Lock()
					if s.entry(pageKey{"new", "pages", "a.test", fmt.Sprint(now)}) == nil {
						t.Fatalf("there is no room for one that has nothing: %v of %d", s.used, limit)
					}
					s.mu.Unlock()
				}
			}
			check(t, s, held, limit, budget)
		}
		for _, c := range held {
			s.release(c)
		}
		for _, namespace := range []string{"a", "b", "c", "new"} {
			for s.evict(namespace) {
			}
		}
		if s.bytes != 0 || len(s.used) != 0 || len(s.known) != 0 {
			t.Fatalf("%d bytes are left: %v, %v", s.bytes, s.used, s.known)
		}
		if n, _ := budget.Taken(memory.Buffers); n != 0 {
			t.Fatalf("%d bytes of the budget are left", n)
		}
	})
}

// check compares what is counted with what is there.
func check(t *rapid.T, s *pages, held []*page, limit int64, budget *memory.Budget) {
	there := make(map[*page]bool)
	used := make(map[string]int64)
	for _, c := range held {
		there[c] = true
	}
	for _, e := range s.known {
		used[e.key.namespace] += entryBytes
		if e.content != nil {
			there[e.content] = true
		}
	}
	for c := range there {
		used[c.namespace] += int64(len(c.body))
	}
	sum := int64(0)
	for namespace, n := range used {
		sum += n
		if s.used[namespace] != n || n > limit/2 {
			t.Fatalf("%s is counted with %d, has %d of %d", namespace, s.used[namespace], n, limit)
		}
	}
	if s.bytes != sum || sum > limit {
		t.Fatalf("counted are %d, there are %d of %d", s.bytes, sum, limit)
	}
	if n, _ := budget.Taken(memory.Buffers); n != sum {
		t.Fatalf("the budget counts %d, there are %d", n, sum)
	}
}
