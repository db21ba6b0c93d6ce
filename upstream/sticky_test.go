package upstream_test

import (
	"strings"
	"testing"
	"time"

	"serai/upstream"
)

const sticky = "seat"

func sitting(value string) attributes {
	return attributes{cookies: map[string]string{sticky: value}, ip: "192.0.2.1"}
}

func TestSticky(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	o := upstream.PoolOptions{Sticky: sticky}
	p := ready(t, r, o, weighted(100, 100, 100, 0)...)
	first := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false)
	name, value := p.StickyCookie(anyone(0), first)
	if name != sticky || len(value) != 22 {
		t.Fatalf("the cookie is %q=%q", name, value)
	}
	client := sitting(value)
	if name, _ := p.StickyCookie(client, first); name != "" {
		t.Error("the cookie is set again although the client has it")
	}
	if got := share(t, p, 100, func(int) attributes { return client }); got[first.ID] != 100 {
		t.Errorf("the client went to %v, want always %s", got, first.ID)
	}

	// Others come and go.
	var rest []*upstream.Member
	for _, m := range p.Members() {
		if m.ID == first.ID || len(rest) == 0 {
			rest = append(rest, m)
		}
	}
	next := upstream.NewPool(rest, o, p.Room())
	if got := share(t, next, 100, func(int) attributes { return client }); got[first.ID] != 100 {
		t.Errorf("after a change of the others the client went to %v, want always %s", got, first.ID)
	}

	// The instance has been tried, or is gone: another one, and its cookie.
	var tried upstream.Tried
	tried.Add(first.Endpoint)
	if m := p.Pick(time.Now(), client, &tried, false); m == nil || m.ID == first.ID {
		t.Errorf("after a failed attempt the pick is %v, want another member", m)
	}
	var others []*upstream.Member
	for _, m := range p.Members() {
		if m.ID != first.ID {
			others = append(others, m)
		}
	}
	gone := upstream.NewPool(others, o, p.Room())
	m := gone.Pick(time.Now(), client, &upstream.Tried{}, false)
	if _, v := gone.StickyCookie(client, m); v == "" || v == value {
		t.Errorf("a client whose instance is gone gets the cookie %q", v)
	}

	// No client is bound to an instance of weight 0, or by a guessed value.
	_, zero := p.StickyCookie(anyone(0), p.Members()[3])
	for _, value := range []string{zero, "", "3", "192.0.2.1:80"} {
		if got := share(t, p, 100, func(int) attributes { return sitting(value) }); got["3"] > 0 {
			t.Errorf("cookie %q led to an instance of weight 0", value)
		}
	}
}

// TestCookiesAreTheSameEverywhere asks two registries, as on two nodes, and one
// with another secret.
func TestCookiesAreTheSameEverywhere(t *testing.T) {
	member := func(o upstream.RegistryOptions) string {
		r := upstream.NewRegistry(o)
		e := r.Acquire(upstream.Target{Address: "192.0.2.7:80", Instance: "1b9d6bcd"})
		p := upstream.NewPool([]*upstream.Member{{Endpoint: e, Weight: 1}}, upstream.PoolOptions{Sticky: sticky}, r.NewRoom(""))
		_, value := p.StickyCookie(anyone(0), p.Members()[0])
		return value
	}
	a, b, c := member(upstream.RegistryOptions{}), member(upstream.RegistryOptions{}), member(upstream.RegistryOptions{StickyKey: []byte("secret")})
	if strings.Contains(a, "1b9d") || a == "" || a != b || a == c {
		t.Errorf("cookies %q, %q, and with a secret %q", a, b, c)
	}
}

// TestStickyAndCanary: a cookie takes precedence over a percentage, but not over a
// condition.
func TestStickyAndCanary(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	members := weighted(100, 100, 100, 100)
	members[1].Canary = &upstream.Canary{Percent: 50}
	members[2].Canary = &upstream.Canary{Header: "x-canary", Value: "1"}
	members[3].Canary = &upstream.Canary{}
	p := ready(t, r, upstream.PoolOptions{Sticky: sticky}, members...)
	cookie := func(i int) string { _, v := p.StickyCookie(anyone(0), p.Members()[i]); return v }
	for i, want := range []string{"0", "1"} {
		if got := share(t, p, 100, func(int) attributes { return sitting(cookie(i)) }); got[want] != 100 {
			t.Errorf("a client of member %d went to %v", i, got)
		}
	}
	asks := sitting(cookie(0))
	asks.headers = map[string]string{"x-canary": "1"}
	if got := share(t, p, 100, func(int) attributes { return asks }); got["2"] != 100 {
		t.Errorf("a client that asks for the canary went to %v", got)
	}
	// Without the header, and from a canary that takes no request, it moves.
	for _, i := range []int{2, 3} {
		got := share(t, p, 100, func(int) attributes { return sitting(cookie(i)) })
		if got["2"] > 0 || got["3"] > 0 {
			t.Errorf("a client of member %d, which takes nobody without a condition, went to %v", i, got)
		}
	}
}

// TestCookieOfANewMember: a request that waited, and was given a member that its own
// pool does not have, gets the cookie of that one.
func TestCookieOfANewMember(t *testing.T) {
	r := run(t, upstream.RegistryOptions{StickyKey: []byte("secret")})
	o := upstream.PoolOptions{Sticky: sticky}
	old := ready(t, r, o, weighted(100)...)
	members := weighted(100)
	ready(t, r, o, members...)
	members[0].Endpoint = r.Acquire(upstream.Target{Address: members[0].Endpoint.Target().Address, Instance: "new"})
	t.Cleanup(func() { r.Release(members[0].Endpoint) })
	next := upstream.NewPool(members, o, old.Room())
	_, want := next.StickyCookie(anyone(0), members[0])
	name, value := old.StickyCookie(anyone(0), members[0])
	if name != sticky || value != want || value == "" {
		t.Errorf("the cookie is %q=%q, want %q=%q", name, value, sticky, want)
	}
	if name, _ := old.StickyCookie(sitting(want), members[0]); name != "" {
		t.Error("the cookie is set again although the client has it")
	}
}
