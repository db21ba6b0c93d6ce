package discovery_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// fat is a registration in a namespace with so many events that few of them are kept.
func fat(id string) nomad.Registration {
	r := regIn("evil", "flood", id)
	r.Tags = append(r.Tags, "ingress.x="+strings.Repeat("x", 2000))
	return r
}

// few bounds what is kept of each namespace to a few events like these.
func few() *discovery.Store {
	return discovery.NewStore(discovery.Bounds{Bytes: discovery.Bound{Namespace: 20_000, Total: 1 << 20}})
}

// TestFloodStarvesNobody: a namespace that changes faster than it can be read is read again and
// again, with pauses, and keeps neither the check of everything nor others from being read.
func TestFloodStarvesNobody(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.CreateNamespace("evil")
	a.Register(reg("web", "1"))
	a.Register(regIn("evil", "web", "2"))
	var lists atomic.Int64
	a.Inject(nomad.KindServices, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("namespace") == "evil" {
			lists.Add(1)
		}
		time.Sleep(50 * time.Millisecond) // in which there are more events than are kept
		next.ServeHTTP(w, r)
	})
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			case <-time.After(time.Millisecond):
				a.Register(fat(fmt.Sprint("f", n%100)))
			}
		}
	})
	stop := sync.OnceFunc(func() { close(end); running.Wait() })
	defer stop()
	w := nomadWatch(t, a, discovery.WatcherOptions{Store: few(), Resync: 300 * time.Millisecond})
	w.until("life", live)
	began := time.Now()
	w.until("checks of everything", func(s discovery.Status) bool { return s.Scans >= 5 })
	if n, most := lists.Load(), 10+5*int64(time.Since(began)/time.Second+1); n > most {
		t.Errorf("the namespace was listed %d times in %v", n, time.Since(began))
	}
	stop()
	a.DeregisterAll(func(r nomad.Registration) bool { return r.ServiceName == "flood" })
	a.Register(regIn("evil", "web", "3"))
	w.has("default/web/1", "evil/web/2", "evil/web/3")
}

// TestLostEventsAreNotForgotten: what was read of a namespace before events that were left out
// is read again, also where the stream breaks, or the namespace cannot be read, before it has
// been.
func TestLostEventsAreNotForgotten(t *testing.T) {
	for name, meanwhile := range map[string]func(*agent, *watch){
		"calm": func(*agent, *watch) {},
		"the stream breaks": func(a *agent, w *watch) {
			a.EndStreams()
			w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 && live(s) })
		},
		"the namespace cannot be read": func(a *agent, w *watch) {
			remove := a.Inject(nomad.KindServices, nomadsim.Status(500, "it is broken"))
			w.until("the fault", func(s discovery.Status) bool { return strings.Contains(s.Problem, "broken") })
			remove()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{})
			a.CreateNamespace("evil")
			a.Register(regIn("evil", "web", "1"))
			read, on, relisted := make(chan struct{}), make(chan struct{}), make(chan struct{})
			goOn := make(chan struct{})
			var first, again sync.Once
			a.Inject(nomad.KindServices, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Query().Get("namespace") == "evil" { // what has been lost is read again
					again.Do(func() {
						close(relisted)
						select {
						case <-goOn:
						case <-r.Context().Done():
						}
					})
				}
				next.ServeHTTP(rw, r)
			})
			a.Inject(nomad.KindService, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				if r.URL.Query().Get("namespace") == "evil" {
					first.Do(func() { close(read); <-on })
				}
				for name, values := range rec.Header() {
					rw.Header()[name] = values
				}
				rw.WriteHeader(rec.Code)
				rw.Write(rec.Body.Bytes())
			})
			w := nomadWatch(t, a, discovery.WatcherOptions{Store: few(), Resync: time.Hour})
			<-read
			for n := range 50 {
				a.Register(fat(fmt.Sprint("f", n)))
				at := a.Deregister("evil", fmt.Sprint("f", n))
				w.until("the events", func(s discovery.Status) bool { return s.Index >= at }) // a slow reader's stream is ended
			}
			a.Deregister("evil", "1") // as nobody will tell again
			at := a.Register(reg("other", "2"))
			w.until("the events", func(s discovery.Status) bool { return s.Index >= at })
			close(on)
			w.has("default/other/2", "evil/web/1") // which is read as it was
			<-relisted
			meanwhile(a, w)
			close(goOn)
			w.has("default/other/2")
		})
	}
}
