package discovery_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/discovery"
)

// gate holds answers about one service back while it is shut.
type gate struct {
	of     string
	shut   atomic.Pointer[chan struct{}]
	behind atomic.Int64 // answers that it has held back
}

func (g *gate) fault(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if !strings.HasSuffix(r.URL.Path, "/"+g.of) {
		next.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	if shut := g.shut.Load(); shut != nil {
		g.behind.Add(1)
		select {
		case <-*shut:
		case <-r.Context().Done():
		}
	}
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes())
}

// close shuts the gate.
func (g *gate) close() (open func()) {
	shut := make(chan struct{})
	g.shut.Store(&shut)
	return func() { g.shut.Store(nil); close(shut) }
}

// alwaysOurs fails when nothing of a snapshot carries our tags.
func (w *watch) alwaysOurs() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for n, s := range w.all {
		found := false
		for _, service := range s.Services {
			for _, i := range service.Instances {
				found = found || strings.Contains(strings.Join(i.Tags, " "), ours)
			}
		}
		if !found {
			w.t.Errorf("nothing of snapshot %d of %d is ours: %v", n+1, len(w.all), ids(s))
		}
	}
}

// TestConsulTagsMove: where our tags move from a sidecar to its service, or the other way, what
// had them stays until the other one has been read.
func TestConsulTagsMove(t *testing.T) {
	t.Parallel()
	plain, tagged := web("1"), web("1")
	plain.Tags = nil
	service, alone := inConsul("web", "n1", "1"), inConsul("web-sidecar-proxy", "n1", "web1-sidecar-proxy")
	for name, c := range map[string]struct {
		before, after []consulService
		slow          string // to be read
		has           []string
		then          []string
	}{
		"from the sidecar to the service": {[]consulService{plain, sidecarOf("1", 21000, ours)}, []consulService{tagged}, "web", []string{alone}, []string{service}},
		"from the service to the sidecar": {[]consulService{tagged, sidecarOf("1", 21000, ours)}, []consulService{plain}, "web-sidecar-proxy", []string{service}, []string{service, alone}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newSimulatedConsul(t, "").(*simulatedConsul)
			c0 := consulCatalog{t: t, url: a.url}
			for _, s := range c.before {
				c0.register("n1", s, consul.Passing)
			}
			g := &gate{of: c.slow}
			a.Inject("health/service", g.fault)
			w := followConsul(t, a.url, discovery.ConsulOptions{})
			w.has(c.has...)
			w.until("life", live)
			open := g.close()
			for _, s := range c.after {
				c0.register("n1", s, consul.Passing)
			}
			w.until("the slow answer", func(discovery.Status) bool { return g.behind.Load() > 0 })
			// Another service shows that what is known of all others has been applied.
			c0.register("n2", consulService{ID: "o", Service: "other", Tags: []string{"ingress.host=other"}, Address: "10.0.0.2", Port: 80}, consul.Passing)
			w.has(append(c.has, inConsul("other", "n2", "o"))...)
			open()
			w.has(append(c.then, inConsul("other", "n2", "o"))...)
			w.alwaysOurs()
		})
	}
}

// TestConsulSidecarOfAHiddenService: a sidecar to which the tags of its service have been copied
// does not come and go while the token may not read the service, nor does it come at all.
func TestConsulSidecarOfAHiddenService(t *testing.T) {
	t.Parallel()
	a := newSimulatedConsul(t, "").(*simulatedConsul)
	c := consulCatalog{t: t, url: a.url}
	c.register("n1", web("1"), consul.Passing)
	c.register("n1", sidecarOf("1", 21000, ours), consul.Passing)
	w := followConsul(t, a.url, discovery.ConsulOptions{Ping: 50 * time.Millisecond, Wait: 500 * time.Millisecond})
	has := []string{inConsul("web", "n1", "1")}
	w.has(has...)
	w.until("life", live)
	var surely atomic.Int64
	remove := a.Inject("health/service", func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasSuffix(r.URL.Path, "/web") {
			next.ServeHTTP(rw, r)
			return
		}
		consulsim.Empty(a.Index(), true)(rw, r, next)
		if r.URL.Query().Has("consistent") {
			surely.Add(1)
		}
	})
	for n := range 4 {
		before := surely.Load()
		a.Disconnect() // all ask again
		w.until("the missing right", func(s discovery.Status) bool { return len(s.Forbidden) > 0 && surely.Load() > before })
		name := fmt.Sprint("other", n)
		c.register("n2", consulService{ID: name, Service: name, Tags: []string{"ingress.host=" + name}, Address: "10.0.0.2", Port: 80}, consul.Passing)
		has = append(has, inConsul(name, "n2", name))
		w.has(has...)
	}
	remove()
	a.Disconnect()
	w.until("the right", func(s discovery.Status) bool { return len(s.Forbidden) == 0 })
	for _, ids := range w.since(0) {
		if slices.Contains(ids, inConsul("web-sidecar-proxy", "n1", "web1-sidecar-proxy")) {
			t.Fatalf("the sidecar came: %v", ids)
		}
	}
}
