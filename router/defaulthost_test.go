package router

import (
	"slices"
	"strings"
	"testing"

	"serai/discovery"
)

// FuzzDefaultHost: whatever a service is called, its default host is a name with as many
// labels as the operator wrote, in the form in which hosts are looked up, or there is none
// and the reason can be printed.
func FuzzDefaultHost(f *testing.F) {
	f.Add("web", "default", "shop", "dc1", uint64(7))
	f.Add("a.b", "-x-", "shop/periodic-17", "DC_1", uint64(1)<<52)
	f.Add("10", "0", "0", "1", uint64(0))
	f.Add("xn--ü", "\x00\n", "", "*", uint64(1))
	f.Add(strings.Repeat("a", 64), strings.Repeat("é", 300), "0x7f", "[::1]", uint64(1))
	var templates []*hostTemplate
	for _, text := range []string{"{service}.example.org", "{service}", "{service}-{job}.{datacenter}.{namespace}", "{service}.{namespace}.{job}.{datacenter}", "{source}.x{service}y.example.org."} {
		t, err := newHostTemplate(text)
		if err != nil {
			f.Fatal(err)
		}
		templates = append(templates, t)
	}
	f.Fuzz(func(t *testing.T, service, namespace, job, datacenter string, created uint64) {
		i := &discovery.Instance{Service: service, Namespace: namespace, Job: job, Datacenter: datacenter, Created: created}
		for _, template := range templates {
			x := template.of(i)
			if (x.host == "") == (x.why == "") || x.template != template.text {
				t.Fatalf("%s is %+v", template.text, x)
			}
			for _, b := range []byte(x.why) {
				if b < ' ' || b > '~' {
					t.Fatalf("%q is not printable", x.why)
				}
			}
			if x.host == "" {
				continue
			}
			if labels := strings.Count(strings.TrimSuffix(template.text, "."), "."); strings.Count(x.host, ".") != labels || isAddr(x.host) || strings.Contains(x.host, "*") {
				t.Fatalf("%s becomes %s", template.text, x.host)
			}
			if again, flaw := parseHostPattern(x.host); flaw != nil || again != x.host || string(AppendHost(nil, []byte(x.host))) != x.host {
				t.Fatalf("%s becomes %s, which is looked up as %s: %v", template.text, x.host, again, flaw)
			}
		}
	})
}

// FuzzTagsWithDefaultHost: a default host opens nothing. Routes whose tags name a host are
// what they are without it, or closed, and what is new has just that host. Only enable=true
// at a route says which route its guard is meant for.
func FuzzTagsWithDefaultHost(f *testing.F) {
	f.Add("ingress.enable=true")
	f.Add("ingress.allow=10.0.0.0/8\ningress.web.host=a.example")
	f.Add("ingress.enable=true\ningress.policies=lan\ningress.web.host=a.example\ningress.web.path=/x")
	f.Add("ingress.a.enable=true\ningress.a.allow=10.0.0.0/33\ningress.a.path=/x\ningress.b.host=a.example")
	f.Add("ingres.allow=10.0.0.0/8\ningress.x.path=/y")
	g, of := NewGrammar("ingress"), fallback{template: "{service}.default.example", host: "web.default.example"}
	f.Fuzz(func(t *testing.T, text string) {
		tags := strings.Split(text, "\n")
		was, _ := g.parse(tags, fallback{})
		is, problems := g.parse(tags, of)
		known := make(map[string]*Definition)
		for i := range was {
			known[was[i].Name] = &was[i]
		}
		for i := range is {
			d := &is[i]
			o := known[d.Name]
			switch {
			case o == nil && (!d.DefaultHost || len(d.Hosts) != 1 || d.Hosts[0] != of.host):
				t.Fatalf("a new route has %v", d.Hosts)
			case o != nil && (d.DefaultHost || !slices.Equal(o.Hosts, d.Hosts) || o.Options.Closed && !d.Options.Closed && !strings.Contains(text, ".enable=true")):
				t.Fatalf("route %q of %v is closed: %v; without a default host it was %v, closed: %v", d.Name, d.Hosts, d.Options.Closed, o.Hosts, o.Options.Closed)
			}
			delete(known, d.Name)
		}
		for name, d := range known {
			t.Fatalf("route %q of %v is gone: %v", name, d.Hosts, problems)
		}
	})
}

// TestDefaultHostOfWhatAJobOffers: a lingering route at a default host goes on while its
// job offers the same service without a host, and ends when it has a host by now.
func TestDefaultHostOfWhatAJobOffers(t *testing.T) {
	template, err := newHostTemplate("{service}.{datacenter}.example.org")
	if err != nil {
		t.Fatal(err)
	}
	b := &Builder{grammar: NewGrammar("ingress"), defaultHost: template}
	r := &Route{Common: &Common{Namespace: "default", Service: "web", Job: "shop"}, DefaultHost: true, Host: "web.dc1.example.org", Path: "/"}
	for _, c := range []struct {
		offer Offer
		goes  bool
	}{
		{Offer{"web", []string{"ingress.enable=true"}}, true},
		{Offer{"web", []string{"ingress.strip=/x"}}, true},
		{Offer{"${NOMAD_GROUP_NAME}", []string{"ingress.enable=true"}}, true},
		{Offer{"web", []string{"ingress.host=web.example.org"}}, false},
		{Offer{"web", []string{"ingress.enable=false"}}, false},
		{Offer{"web", nil}, false},
		{Offer{"api", []string{"ingress.enable=true"}}, false},
	} {
		if goes := b.claims(c.offer, r); goes != c.goes {
			t.Errorf("%+v goes on: %v", c.offer, goes)
		}
	}
}
