//go:build !race

package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"serai/wire"
)

// TestAllocNothing: all phases of all policies, once their memory is there.
func TestAllocNothing(t *testing.T) {
	rewrite, err := ParseRewrite("^/other/[a-z]*/(.*)$", "/$1")
	if err != nil {
		t.Fatal(err)
	}
	l := ForRoute(&OfRoute{
		HSTS: "max-age=9", Sticky: "stay", SameSite: SameSiteNone, Redirect: &Redirect{HTTPS: true},
		RequestSet:    settings(t, RequestMessage, "X-A: {host}{path} {client} {request-id} {tls-version} {sni}", "X-B: 1"),
		RequestRemove: []string{"X-C"}, ResponseRemove: []string{"X-D"}, NoAccessLog: true,
		ResponseSet: settings(t, AnswerMessage, "X-A: {host}{path} {request-id}", "X-B: 1"),
	}, &State{})
	instance := ForInstance(&OfInstance{Strip: "/api", Rewrite: rewrite, Prepend: "/app"})
	r := asker()
	r.https, r.cookie, r.value = true, "stay", "v"
	r.head.Path, r.head.Query, r.head.HasQuery = []byte("/api/x"), []byte("y"), true
	values := &wire.Values{}
	reply := &Reply{Values: values}
	f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: values}
	a := &Answer{Request: r, Head: &wire.ResponseHead{}, Values: values}
	once := func() {
		values.Reset()
		reply.Fields, a.Head.Fields, f.Path = reply.Fields[:0], a.Head.Fields[:0], r.head.Path
		f.Head.Fields = f.Head.Fields[:0]
		l.Request(r, reply)
		instance.Forward(f)
		l.Forward(f)
		l.Answer(a)
		l.Trailers(RequestMessage, f.Head.Fields)
	}
	for range 10 {
		once()
	}
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if len(f.Head.Fields) != 2 || len(a.Head.Fields) != 4 || string(f.Path) != "/app/x" || f.Refused() != "" {
		t.Errorf("%s with %q, answered with %q, refused for %q", f.Path, lines(f.Head.Fields), lines(a.Head.Fields), f.Refused())
	}
}

// TestAllocRewrite: an expression that does not match costs nothing, one that does the
// list of its groups.
func TestAllocRewrite(t *testing.T) {
	for _, c := range []struct {
		pattern string
		want    float64
	}{{"^/other/(.*)$", 0}, {"^/a/[0-9]+/(.*)$", 0}, {"([0-9]+)/.*(x)y$", 0}, {"^/a/(.*)$", 1}} {
		rewrite, err := ParseRewrite(c.pattern, "/$1")
		if err != nil {
			t.Fatal(err)
		}
		l := ForInstance(&OfInstance{Rewrite: rewrite})
		r := &request{}
		r.head.Path = []byte("/a/b/c")
		values := &wire.Values{}
		f := &Forward{Request: r, Head: &wire.OutgoingRequest{}, Values: values}
		once := func() {
			values.Reset()
			f.Path = r.head.Path
			l.Forward(f)
		}
		for range 10 {
			once()
		}
		if n := testing.AllocsPerRun(100, once); n > c.want {
			t.Errorf("%s: %v allocations, want %v", c.pattern, n, c.want)
		}
	}
}

// TestAllocNothingForGuards: a request that a thousand networks, a rate and CORS let
// through, and the answer to it; and one that the rate refuses.
func TestAllocNothingForGuards(t *testing.T) {
	var networks []string
	for i := range 1000 {
		networks = append(networks, fmt.Sprintf("10.%d.%d.0/24", i/256, i%256), fmt.Sprintf("2001:db8:%x::/48", i))
	}
	allow, err := ParseAddresses(networks)
	if err != nil {
		t.Fatal(err)
	}
	byHeader := &Rate{Number: 1, Per: 3600e9, Burst: 1_000_000, By: RateByHeader, Header: "x-key"}
	origins := []string{"https://b.example.org", "https://*.example.org"}
	l := ForRoute(&OfRoute{Allow: allow, Deny: addressesOf(t, "10.3.0.1"), Rate: byHeader, CORS: &CORS{Origins: origins, Expose: []string{"x"}, Credentials: true}}, &State{})
	none := ForRoute(&OfRoute{Rate: &Rate{Number: 1, Per: 3600e9, Burst: 1, By: RateByHost}}, &State{})
	r := &request{client: netip.MustParseAddr("10.3.200.1"), host: "a.example.org"}
	r.head.Method, r.head.Fields = []byte("GET"), fieldsOf("Origin: https://a.example.org\nX-Key: one\n")
	values := &wire.Values{}
	reply := &Reply{Values: values}
	a := &Answer{Request: r, Head: &wire.ResponseHead{Status: 200}, Values: values}
	theirs := fieldsOf("Vary: Accept-Encoding\nAccess-Control-Allow-Origin: *\n")
	once := func() {
		values.Reset()
		r.learned.Reset()
		reply.Fields, a.Head.Fields = reply.Fields[:0], append(a.Head.Fields[:0], theirs...)
		if l.Request(r, reply) {
			t.Fatal("refused")
		}
		l.Answer(a)
		none.Request(r, reply)
	}
	for range 10 {
		once()
	}
	if n := testing.AllocsPerRun(100, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkAddresses is a client among 2,000 networks.
func BenchmarkAddresses(b *testing.B) {
	var networks []string
	for i := range 1000 {
		networks = append(networks, fmt.Sprintf("10.%d.%d.0/25", i/256, i%256), fmt.Sprintf("2001:db8:%x::/48", i))
	}
	a, err := ParseAddresses(networks)
	if err != nil {
		b.Fatal(err)
	}
	client := netip.MustParseAddr("10.3.200.1")
	for b.Loop() {
		a.Contains(client)
	}
}

// BenchmarkRate is a request among 100,000 clients.
func BenchmarkRate(b *testing.B) {
	t := newRateTable(NewRates(0))
	i := 0
	for b.Loop() {
		i++
		t.take(mixed(i%100_000), 1e6, 100)
	}
}
