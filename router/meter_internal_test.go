package router

import (
	"fmt"
	"testing"

	"serai/discovery"
	"serai/upstream"
)

// TestRefusedPoolsAreCountedOut: what a route takes that is refused for its pool, and what those
// take that are not served because of that, is left to others. Their instances are kept, and
// counted.
func TestRefusedPoolsAreCountedOut(t *testing.T) {
	const instances = 40
	refused := 0
	for room := 20_000; room < 90_000; room += 100 {
		b, err := NewBuilder(NewRouter(), Options{
			Registry: upstream.NewRegistry(upstream.RegistryOptions{}),
			Quotas:   Quotas{Memory: Limits{Service: 1 << 20, Namespace: room, Total: 1 << 20}},
		})
		if err != nil {
			t.Fatal(err)
		}
		key := discovery.Key{Namespace: "default", Name: "web"}
		s := &discovery.Service{Key: key}
		for n := range instances {
			s.Instances = append(s.Instances, &discovery.Instance{
				ID: fmt.Sprintf("%03d", n), Namespace: "default", Service: "web", Address: "10.0.0.1", Port: 1 + n, Created: uint64(1 + n), Modified: uint64(1 + n),
				Tags: []string{"ingress.host=a.x", "ingress.more.host=b.x", "ingress.more.lb=random", "ingress.z.host=a.x", "ingress.z.path=/admin", "ingress.z.allow=10.0.0.0/8", "ingress.z.lb=least"},
			})
		}
		b.Update(&discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: s}})
		service := b.services[key]
		if service == nil || len(service.routes) > 0 || len(service.endpoints) == 0 {
			b.Close()
			continue
		}
		members := len(service.endpoints)
		refused++
		most := serviceBytes + members*(memberBytes+endpointBytes) + len(service.refused)*rejectionBytes
		if got := service.usage.got; got[claims] != 0 || got[memory] > most {
			t.Fatalf("with %d bytes: %d claims and %d bytes are counted for %d instances and %d rejections, want at most %d", room, got[claims], got[memory], members, len(service.refused), most)
		}
		b.Close()
	}
	if refused == 0 {
		t.Error("no pool was refused")
	}
}
