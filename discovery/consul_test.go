package discovery_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul"
	"serai/discovery"
)

// inConsul is the name of an instance of ids.
func inConsul(service, node, id string) string {
	return discovery.ConsulNamespace + "/" + service + "/" + node + "/" + id
}

func web(id string) consulService {
	return consulService{ID: id, Service: "web", Tags: []string{ours}, Address: "10.0.0.1", Port: 80}
}

// onConsuls runs a test with each kind of agent.
func onConsuls(t *testing.T, token string, test func(t *testing.T, a consulAgent)) {
	for name, agent := range consuls {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, agent(t, token))
		})
	}
}

// followConsul follows an agent.
func followConsul(t *testing.T, url string, o discovery.ConsulOptions) *watch {
	t.Helper()
	if o.Client == nil {
		o.Client = newConsulClient(t, consul.Options{Address: url})
	}
	return follow(t, newConsulSource(t, o))
}

// unfit waits until an instance has that Unfit.
func (w *watch) unfit(id, want string) {
	w.t.Helper()
	for deadline := time.After(long); ; {
		w.mu.Lock()
		s := w.newest
		w.mu.Unlock()
		got := "missing"
		for key, service := range s.Services {
			for _, i := range service.Instances {
				if key.Namespace+"/"+key.Name+"/"+i.ID == id {
					got = i.Unfit
				}
			}
		}
		if got == want {
			return
		}
		select {
		case <-w.changed:
		case <-deadline:
			w.t.Fatalf("%s is %q, want %q; status %+v", id, got, want, w.status())
		}
	}
}

// TestConsulHealth: who is not well keeps its claims and takes no requests, with a query
// for each service and without.
func TestConsulHealth(t *testing.T) {
	t.Parallel()
	for _, watches := range []int{8, 1} {
		onConsuls(t, "", func(t *testing.T, a consulAgent) {
			c := consulCatalog{t: t, url: a.address()}
			c.register("n0", consulService{ID: "0", Service: "first", Tags: []string{ours}, Address: "10.0.0.1", Port: 80}, consul.Passing)
			one := inConsul("web", "n1", "1")
			w := followConsul(t, a.address(), discovery.ConsulOptions{Watches: watches})
			w.has(inConsul("first", "n0", "0")) // which takes the only query, where there is one
			c.register("n1", web("1"), consul.Critical)
			c.register("n2", web("2"), "")
			w.has(inConsul("first", "n0", "0"), one, inConsul("web", "n2", "2"))
			w.unfit(one, "critical in Consul")
			c.check("n1", "1", "service:1", consul.Passing)
			w.unfit(one, "")
			c.check("n1", "1", "service:1", consul.Warning)
			w.unfit(one, "warning in Consul")
			c.check("n1", "1", "service:1", consul.Passing)
			w.unfit(one, "")
			c.check("n1", "", "serfHealth", consul.Critical)
			w.unfit(one, "critical in Consul")
			c.check("n1", "", "serfHealth", consul.Passing)
			w.unfit(one, "")
			c.check("n1", "1", "_service_maintenance:1", consul.Critical)
			w.unfit(one, "maintenance in Consul")
			c.uncheck("n1", "_service_maintenance:1")
			w.unfit(one, "")
			w.unfit(inConsul("web", "n2", "2"), "")
			c.deregister("n2", "2")
			w.has(inConsul("first", "n0", "0"), one)
			c.deregisterNode("n1")
			w.has(inConsul("first", "n0", "0"))
			w.until("life", live)
		})
	}
}

// TestConsulManyServices: more services than queries are followed as well.
func TestConsulManyServices(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		service := func(n int, tags ...string) consulService {
			return consulService{ID: fmt.Sprint(n), Service: fmt.Sprint("s", n), Tags: append([]string{ours}, tags...), Address: "10.0.0.1", Port: 80}
		}
		var first, second []string
		for n := range 30 {
			c.register("n1", service(n), consul.Passing)
			first = append(first, inConsul(fmt.Sprint("s", n), "n1", fmt.Sprint(n)))
		}
		w := followConsul(t, a.address(), discovery.ConsulOptions{Watches: 3})
		w.has(first...)
		for n := range 30 {
			// The list of services does not change by this.
			c.register("n2", service(n), consul.Passing)
			second = append(second, inConsul(fmt.Sprint("s", n), "n2", fmt.Sprint(n)))
		}
		w.has(slices.Concat(first, second)...)
		for n := range 30 {
			c.deregister("n1", fmt.Sprint(n))
		}
		w.has(second...)
		c.deregisterNode("n2")
		w.has()
		c.register("n1", service(7), consul.Passing)
		w.has(inConsul("s7", "n1", "7"))
	})
}

// front is a proxy before an agent that can be made to answer otherwise.
type front struct {
	*httptest.Server
	otherwise atomic.Pointer[http.HandlerFunc]
}

func newFront(t *testing.T, agent string) *front {
	to, err := url.Parse(agent)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = transport
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o := f.otherwise.Load(); o != nil {
			(*o)(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
		transport.CloseIdleConnections()
	})
	return f
}

// answer has all requests answered otherwise; those under way end.
func (f *front) answer(o http.HandlerFunc) {
	if o == nil {
		f.otherwise.Store(nil)
	} else {
		f.otherwise.Store(&o)
	}
	f.CloseClientConnections()
}

// says answers all requests alike, with the index of a header.
func says(status int, index, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status/leader" && status == http.StatusOK {
			io.WriteString(w, `"127.0.0.1:8300"`)
			return
		}
		if status == http.StatusOK && body == "" {
			body = "[]"
			if r.URL.Path == "/v1/catalog/services" {
				body = "{}"
			}
		}
		w.Header().Set("X-Consul-Index", index)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if r.URL.Query().Get("index") == index { // nothing new, at an agent that waits briefly
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// TestConsulNeverForgets: whatever an agent answers instead of the truth, nothing is
// removed; and the truth is told when it is back.
func TestConsulNeverForgets(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		stale := func(s discovery.Status) bool { return s.Phase == discovery.Stale && s.Problem != "" }
		problem := func(s discovery.Status) bool { return s.Problem != "" || len(s.Forbidden) > 0 }
		n := 0
		for _, fault := range []struct {
			name   string
			answer http.HandlerFunc
			shows  func(discovery.Status) bool
		}{
			{"500", says(500, "", "No cluster leader"), stale},
			{"403", says(403, "", "ACL not found"), stale},
			{"403 without a right", says(403, "", "Permission denied"), stale},
			{"429", says(429, "", "Your IP is issuing too many concurrent connections, please rate limit your calls"), stale},
			{"an empty list of less than all", says(200, "1000000", "", "X-Consul-Results-Filtered-By-ACLs", "true"), problem},
			{"an empty list for somebody without a token", says(200, "1000000", "", "X-Consul-Default-ACL-Policy", "deny"), problem},
			{"an empty list at an index that went back", says(200, "3", ""), problem},
			{"null", says(200, "1000000", "null"), stale},
			{"a page", says(200, "1000000", "<html>"), stale},
			{"nothing", says(200, "1000000", " "), stale},
			{"no index", says(200, "", ""), stale},
			{"a cut answer", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Consul-Index", "1000000")
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "[")
			}, stale},
			{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, stale},
		} {
			n++
			id, next := fmt.Sprint("a", n), fmt.Sprint("b", n)
			t.Run(fault.name, func(t *testing.T) {
				c.register("n1", web(id), consul.Passing)
				f := newFront(t, a.address())
				client := newConsulClient(t, consul.Options{Address: f.URL, Limits: consul.Limits{Request: 2 * time.Second}})
				w := followConsul(t, f.URL, discovery.ConsulOptions{Client: client, Ping: 50 * time.Millisecond, Hold: 100 * time.Millisecond})
				known := inConsul("web", "n1", id)
				w.has(known)
				w.until("life", live)
				f.answer(fault.answer)
				w.until("the fault", fault.shows)
				f.answer(nil)
				c.register("n1", web(next), consul.Passing)
				w.has(known, inConsul("web", "n1", next))
				w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
				w.neverWithout(known)
				c.deregister("n1", id)
				w.has(inConsul("web", "n1", next))
				c.deregister("n1", next)
				w.has()
			})
		}
	})
}

// TestConsulRestartedWithNothing: a cluster that began anew lists nothing, with a low
// index. What was known stays until something is registered again, and for a while.
func TestConsulRestartedWithNothing(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		c.register("n1", web("1"), consul.Passing)
		c.register("n1", web("2"), consul.Passing)
		w := followConsul(t, a.address(), discovery.ConsulOptions{Ping: 50 * time.Millisecond, Hold: 10 * time.Millisecond})
		one, two := inConsul("web", "n1", "1"), inConsul("web", "n1", "2")
		w.has(one, two)
		a.kill()
		w.until("silence", func(s discovery.Status) bool { return s.Phase == discovery.Stale })
		a.start()
		w.until("the lower index", func(s discovery.Status) bool { return strings.Contains(s.Problem, "went back") })
		w.until("life", live)
		w.neverWithout(one)
		c.register("n1", web("1"), consul.Passing)
		w.has(one) // the other one did not come back
		w.until("the end of it", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
	})
}

// TestConsulPaused: an agent that does not answer, and closes no connection, is noticed.
func TestConsulPaused(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		c.register("n1", web("1"), consul.Passing)
		client := newConsulClient(t, consul.Options{Address: a.address(), Limits: consul.Limits{Request: 2 * time.Second}})
		w := followConsul(t, a.address(), discovery.ConsulOptions{Client: client, Ping: 50 * time.Millisecond})
		w.has(inConsul("web", "n1", "1"))
		a.pause(true)
		w.until("silence", func(s discovery.Status) bool { return s.Phase == discovery.Stale && s.Problem != "" })
		a.pause(false)
		c.register("n1", web("2"), consul.Passing)
		w.has(inConsul("web", "n1", "1"), inConsul("web", "n1", "2"))
		w.until("life", live)
	})
}

// TestConsulRights: a token that loses its rights, and requests without one that do, get
// shorter lists. What is known stays, the missing right is told, and everything is right
// once it is back.
func TestConsulRights(t *testing.T) {
	t.Parallel()
	const management = "0e7c0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d55"
	for _, token := range []string{"5a3e0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d56", ""} {
		onConsuls(t, management, func(t *testing.T, a consulAgent) {
			a.let(token, true)
			c := consulCatalog{t: t, url: a.address(), token: management}
			c.register("n1", web("1"), consul.Passing)
			c.register("n1", web("2"), consul.Passing)
			client := newConsulClient(t, consul.Options{Address: a.address(), Token: token})
			w := followConsul(t, a.address(), discovery.ConsulOptions{Client: client, Wait: 500 * time.Millisecond})
			one, two, three := inConsul("web", "n1", "1"), inConsul("web", "n1", "2"), inConsul("web", "n1", "3")
			w.has(one, two)
			w.until("life", live)
			a.let(token, false)
			w.until("the missing right", func(s discovery.Status) bool {
				return len(s.Forbidden) > 0 && strings.Contains(s.Forbidden[0].Problem, "service_prefix") || strings.Contains(s.Problem, "service_prefix")
			})
			c.deregister("n1", "1")
			c.register("n1", web("3"), consul.Passing)
			w.has(one, two)
			a.let(token, true)
			w.has(two, three)
			w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" && len(s.Forbidden) == 0 })
			w.neverWithout(two)
		})
	}
}
