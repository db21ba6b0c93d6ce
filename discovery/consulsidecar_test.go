package discovery_test

import (
	"fmt"
	"testing"
	"time"

	"serai/consul"
	"serai/discovery"
)

// sidecarOf is a sidecar of an instance of web; with no id, of all on its node.
func sidecarOf(id string, port int, tags ...string) consulService {
	s := consulService{ID: "web" + id + "-sidecar-proxy", Service: "web-sidecar-proxy", Kind: consul.Sidecar, Tags: tags, Address: "10.0.0.1", Port: port}
	s.Proxy = &consul.Proxy{DestinationServiceName: "web", DestinationServiceID: id}
	return s
}

// sidecar waits until an instance is reached in that way: "" for not in the mesh.
func (w *watch) sidecar(id, want string) {
	w.t.Helper()
	for deadline := time.After(long); ; {
		w.mu.Lock()
		s := w.newest
		w.mu.Unlock()
		if s == nil {
			s = &discovery.Snapshot{}
		}
		got := "missing"
		for key, service := range s.Services {
			for _, i := range service.Instances {
				if key.Namespace+"/"+key.Name+"/"+i.ID != id {
					continue
				}
				if got = ""; i.Sidecar != nil {
					got = fmt.Sprintf("%s %s:%d as %s", i.Sidecar.ID, i.Sidecar.Address, i.Sidecar.Port, i.Sidecar.Service)
				}
				if got != "" && i.Sidecar.Only {
					got += " only"
				}
				if got != "" && i.Sidecar.Unfit != "" {
					got += " " + i.Sidecar.Unfit
				}
			}
		}
		if got == want {
			return
		}
		select {
		case <-w.changed:
		case <-deadline:
			w.t.Fatalf("%s is reached %q, want %q; status %+v", id, got, want, w.status())
		}
	}
}

// TestConsulSidecars: an instance with connect=on has its sidecar, whose health and end are
// seen; without a query of its own, too.
func TestConsulSidecars(t *testing.T) {
	t.Parallel()
	for _, watches := range []int{8, 1} {
		onConsuls(t, "", func(t *testing.T, a consulAgent) {
			c := consulCatalog{t: t, url: a.address()}
			c.register("n0", consulService{ID: "0", Service: "first", Tags: []string{ours}, Address: "10.0.0.1", Port: 80}, consul.Passing)
			w := followConsul(t, a.address(), discovery.ConsulOptions{Watches: watches})
			w.has(inConsul("first", "n0", "0"))
			one, two := inConsul("web", "n1", "1"), inConsul("web", "n2", "2")
			meshed := web("1")
			meshed.Tags = append(meshed.Tags, "ingress.connect=on")
			c.register("n1", meshed, consul.Passing)
			c.register("n2", web("2"), consul.Passing)
			w.sidecar(one, "")
			c.register("n1", sidecarOf("1", 21000, meshed.Tags...), consul.Passing)
			c.register("n2", sidecarOf("2", 21000, ours), consul.Passing)
			w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21000 as web")
			w.sidecar(two, "") // nobody asks for it
			w.has(inConsul("first", "n0", "0"), one, two)
			c.check("n1", "web1-sidecar-proxy", "service:web1-sidecar-proxy", consul.Critical)
			w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21000 as web critical in Consul")
			c.check("n1", "web1-sidecar-proxy", "service:web1-sidecar-proxy", consul.Passing)
			w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21000 as web")
			c.register("n1", sidecarOf("1", 21001, meshed.Tags...), consul.Passing)
			w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21001 as web")
			c.deregister("n1", "web1-sidecar-proxy")
			w.sidecar(one, "")
			w.until("life", live)
		})
	}
}

// TestConsulSidecarsStay: what an agent is silent about is not forgotten.
func TestConsulSidecarsStay(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		meshed := web("1")
		meshed.Tags = append(meshed.Tags, "ingress.connect=on")
		c.register("n1", meshed, consul.Passing)
		c.register("n1", sidecarOf("1", 21000, ours), consul.Passing)
		w := followConsul(t, a.address(), discovery.ConsulOptions{Ping: time.Second})
		one, way := inConsul("web", "n1", "1"), "web1-sidecar-proxy 10.0.0.1:21000 as web"
		w.sidecar(one, way)
		a.kill()
		w.until("the loss", func(s discovery.Status) bool { return s.Phase == discovery.Stale })
		a.start() // with nothing of what it knew
		w.until("the way back", func(s discovery.Status) bool { return s.Phase == discovery.Live && s.Problem != "" })
		w.sidecar(one, way)
		// The service comes back before its sidecar does.
		c.register("n1", meshed, consul.Passing)
		w.sidecar(one, way)
	})
}

// TestConsulSidecarAlone: a sidecar with our tags is followed by itself as long as its
// service has none; an instance that needs no sidecar says so.
func TestConsulSidecarAlone(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		plain := web("1")
		plain.Tags = nil
		c.register("n1", plain, consul.Passing)
		c.register("n1", sidecarOf("1", 21000, ours), consul.Passing)
		w := followConsul(t, a.address(), discovery.ConsulOptions{})
		alone := inConsul("web-sidecar-proxy", "n1", "web1-sidecar-proxy")
		w.has(alone)
		w.sidecar(alone, "web1-sidecar-proxy 10.0.0.1:21000 as web only")
		c.register("n1", web("1"), consul.Passing)
		w.has(inConsul("web", "n1", "1"))
		w.sidecar(inConsul("web", "n1", "1"), "")
		c.register("n1", plain, consul.Passing)
		w.has(inConsul("web", "n1", "1"), alone)
		native := consulService{ID: "n", Service: "native", Tags: []string{ours}, Address: "10.0.0.1", Port: 8443, Connect: &connectNative{true}}
		c.register("n2", native, consul.Passing)
		w.sidecar(inConsul("native", "n2", "n"), " 10.0.0.1:8443 as native only")
	})
}

// TestConsulSidecarsOfTwoNames: where the sidecars of one service have names of their own, the
// list of them is only as new as those that are left. That one has gone, or stands for another
// service now, does not mean that Consul has forgotten something.
func TestConsulSidecarsOfTwoNames(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(c consulCatalog, newest consulService){
		"gone": func(c consulCatalog, newest consulService) { c.deregister("n2", newest.ID) },
		"of another": func(c consulCatalog, newest consulService) {
			newest.Proxy = &consul.Proxy{DestinationServiceName: "other"}
			c.register("n2", newest, consul.Passing)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onConsuls(t, "", func(t *testing.T, a consulAgent) {
				c := consulCatalog{t: t, url: a.address()}
				meshed := func(id string) consulService {
					s := web(id)
					s.Tags = append(s.Tags, "ingress.connect=on")
					return s
				}
				side := func(id, name string) consulService {
					s := sidecarOf(id, 21000)
					s.Service = name
					return s
				}
				c.register("n1", meshed("1"), consul.Passing)
				c.register("n2", meshed("2"), consul.Passing)
				c.register("n1", side("1", "a-proxy"), consul.Passing)
				c.register("n2", side("2", "b-proxy"), consul.Passing)
				// Consul does not end a wait for a list whose index gets lower.
				w := followConsul(t, a.address(), discovery.ConsulOptions{Wait: 500 * time.Millisecond})
				one, two := inConsul("web", "n1", "1"), inConsul("web", "n2", "2")
				w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21000 as web")
				w.sidecar(two, "web2-sidecar-proxy 10.0.0.1:21000 as web")
				change(c, side("2", "b-proxy"))
				w.sidecar(two, "")
				w.sidecar(one, "web1-sidecar-proxy 10.0.0.1:21000 as web")
				// And the last one.
				c.deregister("n1", "web1-sidecar-proxy")
				w.sidecar(one, "")
				w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
			})
		})
	}
}
