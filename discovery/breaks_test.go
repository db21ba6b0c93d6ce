package discovery_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// replace replaces an agent by another one: its state restored, or a cluster that was
// built anew.
func (a *agent) replace(t *testing.T, other *nomadsim.Sim) {
	t.Helper()
	a.stop()
	l, err := net.Listen("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	a.Sim = other
	a.stop = a.run(l)
}

// TestOtherStateIsReadAgain: an agent on which nothing seems to have happened is
// compared before it is believed. Each agent had web/1 at index 2 and api/2 at 3, and
// comes back as another.
func TestOtherStateIsReadAgain(t *testing.T) {
	moved := reg("web", "1")
	moved.Address = "10.9.9.9"
	for name, c := range map[string]struct {
		state func(*nomadsim.Sim)
		want  []string
	}{
		"older": {func(s *nomadsim.Sim) { s.Load(reg("web", "9")) }, []string{"default/web/9"}},
		"older, with events, which count up again": {func(s *nomadsim.Sim) { s.Register(reg("web", "9")) }, []string{"default/web/9"}},
		"same index, other event":                  {func(s *nomadsim.Sim) { s.Register(reg("web", "1")); s.Register(reg("other", "2")) }, []string{"default/web/1", "default/other/2"}},
		"same index, other content, no events":     {func(s *nomadsim.Sim) { s.Load(reg("web", "8")); s.Load(reg("api", "9")) }, []string{"default/web/8", "default/api/9"}},
		"same index, fewer instances, no events":   {func(s *nomadsim.Sim) { s.Load(reg("web", "1")); s.Noise(1) }, []string{"default/web/1"}},
		"same index, nothing, no events":           {func(s *nomadsim.Sim) { s.Noise(2) }, nil},
		"newer, and forgotten":                     {func(s *nomadsim.Sim) { s.Load(reg("web", "1")); s.Load(reg("api", "2")); s.Load(moved); s.Noise(300) }, []string{"default/web/1", "default/api/2"}},
	} {
		for early, when := range map[bool]string{true: "early", false: "late"} {
			t.Run(name+", "+when, func(t *testing.T) {
				a := newAgent(t, nomadsim.Options{})
				a.Register(reg("web", "1"))
				if early { // the second is listed, without an event
					a.Load(reg("api", "2"))
				} else {
					a.Register(reg("api", "2"))
				}
				w := nomadWatch(t, a, discovery.WatcherOptions{})
				w.has("default/web/1", "default/api/2")
				w.until("life", live)
				if !early {
					w.until("both events", func(s discovery.Status) bool { return s.Events == 2 })
				}
				other := nomadsim.New(nomadsim.Options{})
				c.state(other)
				before := w.status()[0]
				a.replace(t, other)
				w.has(c.want...)
				after := w.until("life", func(s discovery.Status) bool { return live(s) && s.Breaks > before.Breaks })
				if after.Continued != before.Continued || after.Scans == before.Scans {
					t.Errorf("another state was taken for the same: %+v", after)
				}
				if name == "newer, and forgotten" {
					// A snapshot comes a moment after the status.
					w.until("the address that changed meanwhile", func(discovery.Status) bool {
						w.mu.Lock()
						defer w.mu.Unlock()
						service := w.newest.Services[discovery.Key{Namespace: "default", Name: "web"}]
						return service != nil && service.Instances[0].Address == moved.Address
					})
				}
				// Later events are received.
				a.Register(reg("web", "x"))
				w.has(append(slices.Clone(c.want), "default/web/x")...)
			})
		}
	}
}

// TestServersOfDifferentAge: only the leader says whether something happened, and a
// stream that begins before the known index is proved in time.
func TestServersOfDifferentAge(t *testing.T) {
	t.Run("lists that lag", func(t *testing.T) {
		a := newAgent(t, nomadsim.Options{})
		a.Register(reg("web", "1"))
		w := nomadWatch(t, a, discovery.WatcherOptions{})
		w.has("default/web/1")
		w.until("life", live)
		heal := a.Inject("", nomadsim.Lagging())
		defer heal()
		client := newClient(t, nomad.Options{Address: a.url})
		// Queries to any server are answered from now on with the state of this moment.
		for _, kind := range []func() error{
			func() error {
				_, _, err := client.Service(t.Context(), "web", nomad.Query{Namespace: "default", Stale: true})
				return err
			},
			func() error {
				_, _, err := client.Services(t.Context(), nomad.Query{Namespace: "*", Stale: true})
				return err
			},
		} {
			if err := kind(); err != nil {
				t.Fatal(err)
			}
		}
		remove := a.Inject(nomad.KindStream, nomadsim.NoLeader())
		a.EndStreams()
		w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
		a.Register(reg("web", "2"))
		a.Noise(300)
		remove()
		w.has("default/web/1", "default/web/2")
	})
	t.Run("a stream that lags", func(t *testing.T) {
		a := newAgent(t, nomadsim.Options{})
		a.Register(reg("web", "1"))
		a.Register(reg("api", "2"))
		w := nomadWatch(t, a, discovery.WatcherOptions{})
		w.has("default/web/1", "default/api/2")
		// A stream that broke before it brought both would have to be checked by reads.
		w.until("life, and both events", func(s discovery.Status) bool { return live(s) && s.Events >= 2 })
		scans := w.status()[0].Scans
		// The stream comes from a server that has not reached index 3 yet, and the
		// leader cannot be asked.
		defer a.Inject(nomad.KindService, nomadsim.NoLeader())()
		defer a.Inject(nomad.KindStream, nomadsim.Times(1, func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			q := r.URL.Query()
			q.Set("index", "2")
			r.URL.RawQuery = q.Encode()
			next.ServeHTTP(rw, r)
		}))()
		a.EndStreams()
		w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 && live(s) })
		if s := w.status()[0]; s.Scans != scans || s.Continued != 1 {
			t.Errorf("a stream that begins earlier was not enough: %+v", s)
		}
	})
}

// TestEventsOfOneIndexInSeveralLines: when a stream was cut between two lines of one
// index, the second line is received after all.
func TestEventsOfOneIndexInSeveralLines(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	w.until("life", live)
	line := func(index int, id string) string {
		return fmt.Sprintf(`{"Index":%d,"Events":[{"Topic":"Service","Type":"ServiceRegistration","Index":%[1]d,"Payload":{"Service":`+
			`{"ID":%q,"ServiceName":"web","Namespace":"default","Tags":["ingress.host=web"],"Address":"10.0.0.1","Port":80,"CreateIndex":%[1]d,"ModifyIndex":%[1]d}}}]}`+"\n", index, id)
	}
	lines := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer a.Inject(nomad.KindStream, func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
		rw.Header().Set("Content-Type", "application/json")
		for l := range lines {
			io.WriteString(rw, l)
			http.NewResponseController(rw).Flush()
			if l == "" {
				return // which ends this stream
			}
		}
	})()
	defer close(lines)
	defer a.Inject(nomad.KindService, func(rw http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-ctx.Done() // the leader proves nothing
	})()
	a.EndStreams()
	for _, l := range []string{"{}\n", line(2, "1")} {
		lines <- l
	}
	lines <- line(7, "first")
	w.has("default/web/1", "default/web/first")
	cancel()
	lines <- ""
	for _, l := range []string{"{}\n", line(7, "first"), line(7, "second")} {
		lines <- l
	}
	w.has("default/web/1", "default/web/first", "default/web/second")
}

// TestNamespaceThatIsNotWatchedProvesToo: the last event may be from a namespace that
// is filtered out.
func TestNamespaceThatIsNotWatchedProvesToo(t *testing.T) {
	for name, noise := range map[string]int{"event": 0, "leader": 300} {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, nomadsim.Options{})
			a.CreateNamespace("secret")
			a.Register(reg("web", "1"))
			names, err := discovery.ParseNamespaces([]string{"!secret"})
			if err != nil {
				t.Fatal(err)
			}
			w := nomadWatch(t, a, discovery.WatcherOptions{Namespaces: names})
			w.has("default/web/1")
			w.until("life", live)
			at := a.Register(regIn("secret", "web", "2"))
			w.until("the event", func(s discovery.Status) bool { return s.Index >= at })
			scans := w.status()[0].Scans
			w.lose(func() {
				// Noise while a stream is followed would end it once more, if its
				// reader were slow.
				remove := a.Inject(nomad.KindStream, nomadsim.NoLeader())
				a.EndStreams()
				w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
				a.Noise(noise)
				remove()
			})
			if s := w.status()[0]; s.Scans != scans || s.Continued != 1 {
				t.Errorf("everything was read again: %+v", s)
			}
			a.Register(reg("web", "3"))
			w.has("default/web/1", "default/web/3")
		})
	}
}

// TestNamespaceOfTheTimeBetween: services that were registered in a namespace which the
// lost stream did not cover, before its last event, are found although the stream is
// proved.
func TestNamespaceOfTheTimeBetween(t *testing.T) {
	a := newAgent(t, nomadsim.Options{})
	a.Register(reg("web", "1"))
	w := nomadWatch(t, a, discovery.WatcherOptions{})
	w.has("default/web/1")
	w.until("life", live)
	w.until("the watch over namespaces", func(discovery.Status) bool { return a.Counts().Blocked == 1 })
	// The new namespace is unknown until the stream is lost.
	remove := a.Inject(nomad.KindStream, nomadsim.NoLeader())
	a.CreateNamespace("late")
	a.Register(regIn("late", "web", "2"))
	a.Register(reg("web", "3"))
	w.has("default/web/1", "default/web/3")
	a.EndStreams()
	w.until("the loss", func(s discovery.Status) bool { return s.Breaks > 0 })
	remove()
	w.has("default/web/1", "default/web/3", "late/web/2")
	if s := w.until("life", live); s.Continued == 0 {
		t.Errorf("everything was read: %+v", s)
	}
	a.Register(regIn("late", "web", "4"))
	w.has("default/web/1", "default/web/3", "late/web/2", "late/web/4")
}

// TestStreamThatAnAgentCannotGive: if only the stream is answered 500, or by a proxy before
// the agent with something else, lists replace it, and the stream is used as soon as it
// works.
func TestStreamThatAnAgentCannotGive(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]nomadsim.Fault{
		"500":  nomadsim.Status(500, "event broker is disabled"),
		"404":  nomadsim.Status(404, "404 page not found"),
		"page": nomadsim.Status(200, "<html>not here</html>"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nomadsim.Options{})
			a.Register(reg("web", "1"))
			w := nomadWatch(t, a, discovery.WatcherOptions{Retry: 100 * time.Millisecond})
			w.has("default/web/1")
			w.until("life", live)
			remove := a.Inject(nomad.KindStream, fault)
			a.EndStreams()
			w.until("lists", func(s discovery.Status) bool { return s.Phase == discovery.Polling })
			a.Register(reg("web", "2"))
			w.has("default/web/1", "default/web/2")
			remove()
			w.until("life", live)
			a.Register(reg("web", "3"))
			w.has("default/web/1", "default/web/2", "default/web/3")
		})
	}
}
