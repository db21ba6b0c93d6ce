package admin_test

import (
	"reflect"
	"strings"
	"testing"

	"serai/admin"
	"serai/router"
)

// TestWordsAreTags converts what /routes shows back to tags: they must mean the same as
// the original ones.
func TestWordsAreTags(t *testing.T) {
	for _, tags := range []string{
		"host=a.example.org",
		"host=a.example.org path=/x strip=/x",
		"host=a.example.org redirect=https",
		"host=a.example.org redirect=https://b.example.org{path}?{query} redirect-status=302",
		"host=a.example.org tls=only redirect-status=301",
		"host=a.example.org tls=off hsts=max-age=300",
		"host=a.example.org scheme=https tls-verify=false",
		"host=a.example.org scheme=https tls-name=inner.example.org",
		"host=a.example.org upstream-host=b.example.org:8080",
		"host=a.example.org upstream-host=address",
		"host=a.example.org lb=round-robin", "host=a.example.org lb=random", "host=a.example.org lb=hash:ip",
		"host=a.example.org lb=hash:header:X-User", "host=a.example.org lb=hash:cookie:seat",
		"host=a.example.org weight=0", "host=a.example.org sticky=seat", "host=a.example.org prefer=node", "host=a.example.org prefer=datacenter",
		"host=a.example.org canary=12.5%", "host=a.example.org canary=0%", "host=a.example.org canary=header:X-Canary:1", "host=a.example.org canary=cookie:canary=1",
		"host=a.example.org check=/up?x=1 check-interval=90s check-timeout=10m check-status=204",
		"host=a.example.org wait=0s retries=0 timeout=1h30m body-idle=1h", "host=a.example.org timeout=24h body-idle=10s",
		"host=a.example.org max-body=1", "host=a.example.org max-body=1536k", "host=a.example.org max-body=2G", "host=a.example.org max-body=3T",
		"host=a.example.org allow=10.0.0.0/8,::ffff:192.0.2.1 deny=2001:db8::/32", "host=a.example.org rate=5/m", "host=a.example.org rate=1/h rate-burst=7 rate-by=header:X-Key",
		"host=a.example.org cors=null,https://*.b.example.org:8443 cors-methods=PUT cors-headers=*,Authorization cors-expose=X-A cors-max-age=90s", "host=a.example.org cors=https://A.example.org:443 cors-credentials=true",
		"host=a.example.org proxy-protocol=v1", "host=a.example.org proxy-protocol=v2 max-inflight=7",
	} {
		var list []string
		for word := range strings.FieldsSeq(tags) {
			list = append(list, "ingress."+word)
		}
		grammar := router.NewGrammar("ingress")
		want, problems := grammar.Parse(list)
		if len(problems) > 0 || len(want) != 1 {
			t.Fatalf("%s: %v", tags, problems)
		}
		n := newNode(t, admin.Options{}, router.Options{})
		n.set("web", instance(list...))
		var routes []admin.Route
		n.read("/routes", &routes)
		if len(routes) != 1 || len(routes[0].Members) != 1 {
			t.Fatalf("%s makes %+v", tags, routes)
		}
		member := routes[0].Members[0]
		again := []string{"ingress.host=a.example.org"}
		for k, v := range routes[0].Options {
			again = append(again, "ingress."+k+"="+v)
		}
		for k, v := range member.Options {
			again = append(again, "ingress."+k+"="+v)
		}
		if member.Canary != "" {
			again = append(again, "ingress.canary="+member.Canary)
		}
		got, problems := grammar.Parse(again)
		if len(problems) > 0 || len(got) != 1 {
			t.Errorf("%s is shown as %q, which is refused: %v", tags, again, problems)
			continue
		}
		got[0].Instance.Weight = member.Weight
		if !reflect.DeepEqual(got[0].Options, want[0].Options) || !reflect.DeepEqual(got[0].Instance, want[0].Instance) {
			t.Errorf("%s is shown as %q\n%+v\n%+v, want\n%+v\n%+v", tags, again, got[0].Options, got[0].Instance, want[0].Options, want[0].Instance)
		}
	}
}
