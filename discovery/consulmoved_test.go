package discovery_test

import (
	"fmt"
	"testing"
	"time"

	"serai/consul"
	"serai/discovery"
)

// TestConsulIDOfAnotherService: an ID that is registered anew as another service, with tags of
// ours or without, leaves the service that it was, whose index stays. That is no restore of Consul.
func TestConsulIDOfAnotherService(t *testing.T) {
	t.Parallel()
	onConsuls(t, "", func(t *testing.T, a consulAgent) {
		c := consulCatalog{t: t, url: a.address()}
		var has []string
		for n := range 4 {
			for _, id := range []string{"a", "b"} {
				c.register(fmt.Sprint("n", n), web(id), consul.Passing)
				has = append(has, inConsul("web", fmt.Sprint("n", n), id))
			}
		}
		w := followConsul(t, a.address(), discovery.ConsulOptions{Wait: 500 * time.Millisecond})
		w.has(has...)
		w.until("life", live)
		as := func(service, node, id string, tags ...string) {
			c.register(node, consulService{ID: id, Service: service, Tags: tags, Address: "10.0.0.1", Port: 80}, consul.Passing)
		}
		as("other", "n0", "a", "ingress.host=other")
		w.has(append(has[1:8:8], inConsul("other", "n0", "a"))...)
		as("plain", "n0", "b")
		w.has(append(has[2:8:8], inConsul("other", "n0", "a"))...)
		// Several at once.
		as("plain", "n1", "a")
		as("other", "n1", "b", "ingress.host=other")
		as("other", "n2", "a", "ingress.host=other")
		as("third", "n2", "b", "ingress.host=third")
		rest := []string{inConsul("other", "n0", "a"), inConsul("other", "n1", "b"), inConsul("other", "n2", "a"), inConsul("third", "n2", "b")}
		w.has(append(has[6:8:8], rest...)...)
		// And the last ones.
		as("other", "n3", "a", "ingress.host=other")
		as("plain", "n3", "b")
		w.has(append(rest, inConsul("other", "n3", "a"))...)
		w.until("life", func(s discovery.Status) bool { return live(s) && s.Problem == "" })
	})
}
