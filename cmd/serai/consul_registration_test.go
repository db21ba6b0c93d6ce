package main

import (
	"fmt"
	"strings"
	"testing"

	"serai/nomad"
)

// TestConsulRegistrations: what a registration at an agent says of an instance is what serai
// does: weights, also those for warnings, maintenance of the service and of the node, a tagged
// address, keys in the meta.
func TestConsulRegistrations(t *testing.T) {
	t.Parallel()
	onMeshes(t, func(t *testing.T, a meshAgent) {
		put := func(path string, body any) { t.Helper(); putMesh(t, a.url(), "", path, body) }
		register := func(r nomad.Registration, more map[string]any) {
			t.Helper()
			body := map[string]any{"ID": r.ID, "Name": r.ServiceName, "Tags": r.Tags, "Address": r.Address, "Port": r.Port, "Check": map[string]any{"TTL": "1h", "Status": "passing"}}
			for k, v := range more {
				body[k] = v
			}
			put("/v1/agent/service/register", body)
		}
		light, heavy := instance(t, "light", "ingress.host=weights.example.org", "ingress.lb=round-robin"), instance(t, "heavy", "ingress.host=weights.example.org", "ingress.lb=round-robin")
		for r, weights := range map[*nomad.Registration]map[string]int{&light: {"Passing": 1, "Warning": 1}, &heavy: {"Passing": 9, "Warning": 1}} {
			r.ServiceName = "weights"
			register(*r, map[string]any{"Weights": weights})
		}
		meta := instance(t, "meta", "ingress", "a-tag-of-somebody-else")
		register(meta, map[string]any{"Meta": map[string]string{"ingress_host": "meta.example.org"}})
		tagged := instance(t, "tagged", "ingress.host=tagged.example.org")
		at := tagged.Port
		tagged.Port = 1 // where nobody listens
		register(tagged, map[string]any{"TaggedAddresses": map[string]any{"front": map[string]any{"Address": "127.0.0.1", "Port": at}}})
		_, traffic, admin := meshServe(t, a.url(), "", "--consul-warning", "--consul-address=front")
		for _, host := range []string{"meta", "tagged"} {
			until(t, host, func() bool { status, _ := get(traffic, host+".example.org", "/"); return status == 200 })
		}
		// share is how many of 40 requests reach the heavy one.
		share := func() (n int) {
			for range 40 {
				if _, body := get(traffic, "weights.example.org", "/"); strings.Contains(body, "alloc-heavy") {
					n++
				}
			}
			return n
		}
		// It has become something when the next 40 are like that, too.
		becomes := func(what string, holds func(n int) bool) {
			t.Helper()
			last := 0
			until(t, what, func() bool { return holds(share()) })
			until(t, what, func() bool { last = share(); return holds(last) })
			t.Logf("%s: %d of 40 requests", what, last)
		}
		becomes("nine tenths", func(n int) bool { return n >= 34 && n <= 38 })
		put("/v1/agent/check/warn/service:"+heavy.ID, nil)
		becomes("a half, as its weight for warnings says", func(n int) bool { return n >= 18 && n <= 22 })
		put("/v1/agent/check/pass/service:"+heavy.ID, nil)
		becomes("nine tenths again", func(n int) bool { return n >= 34 && n <= 38 })
		put("/v1/agent/service/maintenance/"+heavy.ID+"?enable=true&reason=a+test", nil)
		becomes("nothing while it is in maintenance", func(n int) bool { return n == 0 })
		if _, body := get(admin, "localhost", "/explain?host=weights.example.org"); !strings.Contains(body, "maintenance in Consul") {
			t.Errorf("/explain does not tell why: %s", body)
		}
		put("/v1/agent/service/maintenance/"+heavy.ID+"?enable=false", nil)
		becomes("nine tenths after the maintenance", func(n int) bool { return n >= 34 && n <= 38 })
		reached := func() int { status, _ := get(traffic, "meta.example.org", "/"); return status }
		for _, enable := range []bool{true, false} {
			want := map[bool]int{true: 503, false: 200}[enable]
			put(fmt.Sprint("/v1/agent/maintenance?enable=", enable), nil)
			until(t, fmt.Sprint(want, " with maintenance of the node ", enable), func() bool { return reached() == want })
		}
	})
}
