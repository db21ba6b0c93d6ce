package upstream_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"serai/upstream"
)

// ready makes a pool of ready members, one listener for all: instances tell
// the endpoints apart.
func ready(t *testing.T, r *upstream.Registry, o upstream.PoolOptions, members ...*upstream.Member) *upstream.Pool {
	t.Helper()
	address := listen(t, "127.0.0.1:0").Addr().String()
	for i, m := range members {
		m.ID = strconv.Itoa(i)
		m.Endpoint = r.Acquire(upstream.Target{Address: address, Instance: m.ID})
		t.Cleanup(func() { r.Release(m.Endpoint) })
	}
	for i := range members {
		await(t, "ready endpoint", func() bool { return members[i].Endpoint.State() == upstream.Ready })
	}
	p := upstream.NewPool(members, o, r.NewRoom(""))
	r.Publish(p)
	return p
}

// share picks n times, each request ending at once, and returns how often each member
// was chosen.
func share(t *testing.T, p *upstream.Pool, n int, a func(i int) attributes) map[string]int {
	t.Helper()
	got := make(map[string]int)
	for i := range n {
		m := p.Pick(time.Now(), a(i), &upstream.Tried{}, false)
		if m == nil {
			t.Fatalf("pick %d found no member", i)
		}
		p.End(time.Now(), m, upstream.Outcome{FirstByte: time.Millisecond, Status: 200})
		got[m.ID]++
	}
	return got
}

func anyone(int) attributes { return attributes{ip: "192.0.2.1"} }

func weighted(weights ...int) []*upstream.Member {
	members := make([]*upstream.Member, len(weights))
	for i, w := range weights {
		members[i] = &upstream.Member{Weight: w}
	}
	return members
}

func TestShareFollowsWeight(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	for _, method := range []upstream.Method{upstream.RoundRobin, upstream.Random, upstream.HashHeader} {
		for _, weights := range [][]int{{100, 100, 100}, {100, 300}, {1, 0, 3}, {7, 1000, 993}} {
			t.Run(fmt.Sprint(method, weights), func(t *testing.T) {
				o := upstream.PoolOptions{Balance: upstream.Balance{Method: method, Name: "x-key"}}
				p := ready(t, r, o, weighted(weights...)...)
				const n = 20000
				got := share(t, p, n, func(i int) attributes {
					return attributes{headers: map[string]string{"x-key": strconv.Itoa(i)}}
				})
				sum := 0
				for _, w := range weights {
					sum += w
				}
				for i, w := range weights {
					want := n * float64(w) / float64(sum)
					// Four standard deviations of a fair draw.
					if d := math.Abs(float64(got[strconv.Itoa(i)]) - want); d > 4*math.Sqrt(want)+2 {
						t.Errorf("member %d of weight %d was picked %d times of %d, want about %.0f", i, w, got[strconv.Itoa(i)], n, want)
					}
				}
			})
		}
	}
}

func TestRoundRobinAlternates(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.RoundRobin}}, weighted(100, 100, 100)...)
	var last string
	for i := range 9 {
		m := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false)
		p.End(time.Now(), m, upstream.Outcome{})
		if m.ID == last {
			t.Fatalf("pick %d: member %s twice in a row", i, last)
		}
		last = m.ID
	}
}

func TestLeastAvoidsTheSlow(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	got := make(map[string]int)
	for range 1000 {
		m := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false)
		got[m.ID]++
		took := time.Millisecond
		if m.ID == "0" {
			took *= 100
		}
		p.End(time.Now(), m, upstream.Outcome{FirstByte: took, Status: 200})
	}
	if got["0"] > 100 {
		t.Errorf("an instance 100 times slower got %d of %d requests", got["0"], 1000)
	}
}

func TestLeastAvoidsTheBusy(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	p := ready(t, r, upstream.PoolOptions{}, weighted(100, 100)...)
	var held []*upstream.Member
	for range 100 {
		held = append(held, p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false))
	}
	for _, m := range held { // requests of one member end, those of the other hang
		if m.ID == "0" {
			p.End(time.Now(), m, good)
		}
	}
	if got := share(t, p, 40, anyone); got["1"] > 0 {
		t.Errorf("an instance with %d requests in flight got %d of 40 more", p.Members()[1].Endpoint.Inflight(), got["1"])
	}
}

func TestHashMovesOnlyWhatItMust(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	o := upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.HashHeader, Name: "x-key"}}
	p := ready(t, r, o, weighted(100, 100, 100, 100)...)
	smaller := upstream.NewPool(p.Members()[:3], o, p.Room())
	moved := 0
	const n = 4000
	for i := range n {
		a := attributes{headers: map[string]string{"x-key": strconv.Itoa(i)}}
		before := p.Pick(time.Now(), a, &upstream.Tried{}, false)
		after := smaller.Pick(time.Now(), a, &upstream.Tried{}, false)
		if again := p.Pick(time.Now(), a, &upstream.Tried{}, false); again != before {
			t.Fatalf("key %d went to %s and then to %s", i, before.ID, again.ID)
		}
		if before.ID != "3" && before.ID != after.ID {
			t.Fatalf("key %d moved from %s to %s though its member stayed", i, before.ID, after.ID)
		}
		if before.ID == "3" {
			moved++
		}
	}
	if moved < n/5 || moved > n*3/10 {
		t.Errorf("the member that left had %d of %d keys, want about a quarter", moved, n)
	}
}

func TestPreferNear(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	members := weighted(100, 100, 100)
	members[1].Node = "here"
	// Where Nomad has another name for the node than Consul, either counts.
	for _, o := range []upstream.PoolOptions{{ConsulNode: "here"}, {Node: "id", ConsulNode: "here"}, {Node: "here", ConsulNode: "there"}} {
		o.Prefer = upstream.PreferNode
		if got := share(t, ready(t, r, o, members...), 100, anyone); got["1"] != 100 {
			t.Errorf("%+v: the near member got %d of 100", o, got["1"])
		}
	}
	p := ready(t, r, upstream.PoolOptions{Prefer: upstream.PreferNode, Node: "here"}, members...)
	if got := share(t, p, 100, anyone); got["1"] != 100 {
		t.Errorf("the near member got %d of 100", got["1"])
	}
	// Requests that stay in flight overflow to the others.
	got := make(map[string]int)
	for range 300 {
		got[p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false).ID]++
	}
	if got["0"] == 0 || got["2"] == 0 || got["1"] <= got["0"] {
		t.Errorf("300 requests at once went %v, want most near and some beyond", got)
	}
}

func TestCanary(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	members := weighted(100, 100, 100, 100)
	members[1].Canary = &upstream.Canary{Percent: 10}
	members[2].Canary = &upstream.Canary{Header: "x-canary", Value: "1"}
	members[3].Canary = &upstream.Canary{Cookie: "canary", Value: "1"}
	p := ready(t, r, upstream.PoolOptions{}, members...)
	const n = 5000
	got := share(t, p, n, anyone)
	if got["2"] != 0 || got["3"] != 0 {
		t.Errorf("canaries by condition got requests that do not meet it: %v", got)
	}
	if want := n / 10; math.Abs(float64(got["1"]-want)) > 4*math.Sqrt(float64(want)) {
		t.Errorf("a canary of 10%% got %d of %d", got["1"], n)
	}
	got = share(t, p, 100, func(int) attributes { return attributes{headers: map[string]string{"x-canary": "1"}} })
	if got["2"] != 100 {
		t.Errorf("the canary by header got %d of 100", got["2"])
	}
	got = share(t, p, 100, func(int) attributes { return attributes{cookies: map[string]string{"canary": "1"}} })
	if got["3"] != 100 {
		t.Errorf("the canary by cookie got %d of 100", got["3"])
	}
}

func TestTriedAndMaxInflight(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	members := weighted(100, 100)
	members[0].MaxInflight, members[1].MaxInflight = 1, 1
	p := ready(t, r, upstream.PoolOptions{}, members...)
	var tried upstream.Tried
	a := p.Pick(time.Now(), anyone(0), &tried, false)
	b := p.Pick(time.Now(), anyone(0), &tried, false)
	if a == b || a == nil || b == nil {
		t.Fatalf("two picks with room for one each got %v and %v", a, b)
	}
	if m := p.Pick(time.Now(), anyone(0), &tried, false); m != nil {
		t.Fatalf("a third pick got %s beyond its limit", m.ID)
	}
	p.End(time.Now(), a, upstream.Outcome{})
	tried.Add(a.Endpoint)
	if m := p.Pick(time.Now(), anyone(0), &tried, false); m != nil {
		t.Fatalf("the member tried before was picked")
	}
	if m := p.Pick(time.Now(), anyone(0), &tried, true); m != a {
		t.Fatalf("with no other, the member tried before was not picked again")
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	for method := range upstream.Methods() {
		p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.Method(method), Name: "name"}}, weighted(100, 90, 100)...)
		var a upstream.Attributes = fixed{}
		now := time.Now()
		var tried upstream.Tried
		if n := testing.AllocsPerRun(1000, func() {
			p.End(now, p.Pick(now, a, &tried, false), upstream.Outcome{FirstByte: time.Millisecond, Status: 200})
		}); n != 0 {
			t.Errorf("method %d: a pick allocates %v times", method, n)
		}
	}
}

type fixed struct{}

var fixedIP = []byte{192, 0, 2, 1}

func (fixed) Header(string) []byte      { return nil }
func (fixed) Cookie(string, int) []byte { return nil }
func (fixed) ClientIP() []byte          { return fixedIP }

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{1, 3, 100} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			r := upstream.NewRegistry(upstream.RegistryOptions{})
			members := weighted(make([]int, n)...)
			for i := range members {
				members[i].Weight = 100
				members[i].Endpoint = r.Acquire(upstream.Target{Instance: strconv.Itoa(i)})
				upstream.SetReady(members[i].Endpoint)
			}
			p := upstream.NewPool(members, upstream.PoolOptions{}, r.NewRoom(""))
			now := time.Now()
			var tried upstream.Tried
			for b.Loop() {
				p.End(now, p.Pick(now, fixed{}, &tried, false), upstream.Outcome{FirstByte: time.Millisecond, Status: 200})
			}
		})
	}
}
