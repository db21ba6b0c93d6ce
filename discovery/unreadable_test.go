package discovery_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// sickly lets a fault happen to reads of one service alone.
func sickly(name string, fault nomadsim.Fault) nomadsim.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/"+name) {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestServiceThatCannotBeRead: a service that Nomad lists, and of which it says nothing
// that can be used, keeps no other from being known, at a start and later; what was known
// of it stays, it is told of, and is read once it can be.
func TestServiceThatCannotBeRead(t *testing.T) {
	t.Parallel()
	json := func(body string) nomadsim.Fault { return nomadsim.Body("application/json", 1<<40, body) }
	for name, fault := range map[string]nomadsim.Fault{
		"an error":          nomadsim.Status(500, "rpc error: this one alone"),
		"no such page":      nomadsim.Status(404, "404"),
		"no method":         nomadsim.Status(405, "Invalid method"),
		"a web page":        nomadsim.WebPage(),
		"half an answer":    nomadsim.Truncated(),
		"null":              json("null"),
		"another service":   json(`[{"ID":"x","ServiceName":"else","Namespace":"default","Address":"10.0.0.1","Port":80}]`),
		"no ID":             json(`[{"ID":"","ServiceName":"sick","Namespace":"default","Address":"10.0.0.1","Port":80}]`),
		"a port in letters": json(`[{"ID":"x","ServiceName":"sick","Namespace":"default","Address":"10.0.0.1","Port":"80"}]`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{})
			a.Load(reg("sick", "0"), reg("well", "1"))
			heal := a.Inject(nomad.KindService, sickly("sick", fault))
			w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 200 * time.Millisecond})
			w.has("default/well/1")
			w.until("life", live)
			why := func() string {
				w.mu.Lock()
				defer w.mu.Unlock()
				if s := w.newest.Services[discovery.Key{Namespace: "default", Name: "sick"}]; s != nil && s.Refused != nil {
					return s.Refused.Cause
				}
				return ""
			}
			if !strings.Contains(why(), `read service "sick"`) {
				t.Errorf("it is told of with %q", why())
			}
			a.Register(reg("later", "2"), reg("sick", "3"))
			w.has("default/well/1", "default/later/2", "default/sick/3") // an event tells what a read does not
			a.EndStreams()
			a.Noise(300) // so that everything is read again
			w.until("another reading", func(s discovery.Status) bool { return s.Scans >= 2 && live(s) })
			w.has("default/well/1", "default/later/2", "default/sick/3")
			heal()
			w.has("default/well/1", "default/later/2", "default/sick/3", "default/sick/0")
			for end := time.Now().Add(long); why() != ""; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("it is still told of with %q", why())
				}
			}
		})
	}
}

// TestNameThatCannotBeAsked: no path asks for some names. Nomad refuses them, but only
// where a job is registered.
func TestNameThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 1<<15)
	for name, odd := range map[string][]string{"a slash": {"a/b"}, "two dots": {".."}, "a dot": {"."}, "32 KiB": {long}, "many": nil} {
		for i := range 50 {
			if name == "many" {
				odd = append(odd, fmt.Sprint("a/", i))
			}
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{})
			for i, name := range odd {
				a.Load(reg(name, fmt.Sprint("odd", i)))
			}
			w := nomadWatch(t, a, discovery.WatcherOptions{})
			w.until("life", live) // also where nothing else is registered
			a.Register(reg("well", "1"))
			w.has("default/well/1")
			again := nomadWatch(t, a, discovery.WatcherOptions{})
			again.has("default/well/1")
			again.until("life", live)
		})
	}
}

// TestAllThatCannotBeRead: where nothing can be read, it is not the services that are
// unwell: nothing is known then, and what was known stays.
func TestAllThatCannotBeRead(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{})
	a.Load(reg("one", "1"), reg("two", "2"))
	heal := a.Inject(nomad.KindService, nomadsim.Status(500, "rpc error"))
	w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 200 * time.Millisecond})
	if s := w.until("a problem", func(s discovery.Status) bool { return s.Problem != "" }); s.Ready() {
		t.Errorf("a source that could read nothing is ready: %+v", s)
	}
	heal()
	w.has("default/one/1", "default/two/2")
}

// TestTheSameProblemIsToldOnce: lists that cannot be read while the stream goes on are told
// of once, though each answer has a number of its own.
func TestTheSameProblemIsToldOnce(t *testing.T) {
	t.Parallel()
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	log := &lockedBuffer{}
	w := nomadWatch(t, a, discovery.WatcherOptions{Resync: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))})
	w.has("default/web/1")
	w.until("life", live)
	var asked atomic.Int64
	a.Inject(nomad.KindServices, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		nomadsim.Status(500, fmt.Sprintf("rpc error: request %d", asked.Add(1)))(w, r, next)
	})
	for end := time.Now().Add(long); asked.Load() < 20; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody asks")
		}
	}
	if n := strings.Count(log.String(), "cannot be read again"); n != 1 {
		t.Errorf("%d lines for one problem:\n%s", n, log.String())
	}
}

// lockedBuffer can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
