package upstream_test

import (
	"container/heap"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"serai/upstream"
)

// pending are requests in flight in a simulation, sorted by their end.
type pending []underway

type underway struct {
	began, ends time.Time
	member      *upstream.Member
}

func (p pending) Len() int           { return len(p) }
func (p pending) Less(i, j int) bool { return p[i].ends.Before(p[j].ends) }
func (p pending) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *pending) Push(x any)        { *p = append(*p, x.(underway)) }
func (p *pending) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

// closedLoop simulates clients that send n requests each, one after the other, with
// simulated time: takes says how long an instance needs. It returns how many requests
// each member got.
func closedLoop(t *testing.T, p *upstream.Pool, clients, n int, takes func(id string, inflight int) time.Duration) map[string]int {
	t.Helper()
	got := make(map[string]int)
	now := time.Now()
	var under pending
	send := func() {
		m := p.Pick(now, anyone(0), &upstream.Tried{}, false)
		if m == nil {
			t.Fatal("no member")
		}
		got[m.ID]++
		heap.Push(&under, underway{now, now.Add(takes(m.ID, m.Endpoint.Inflight())), m})
	}
	for range clients {
		send()
	}
	for sent := clients; under.Len() > 0; {
		u := heap.Pop(&under).(underway)
		now = u.ends
		p.End(now, u.member, upstream.Outcome{FirstByte: u.ends.Sub(u.began), Status: 200})
		if sent < n {
			send()
			sent++
		}
	}
	return got
}

// noisy takes about a millisecond, always a different time.
func noisy() func(string, int) time.Duration {
	i := uint64(0)
	return func(string, int) time.Duration {
		i++
		return time.Millisecond + time.Duration(i*0x9e3779b97f4a7c15>>45)*time.Nanosecond // up to half a millisecond more
	}
}

// TestBalanceIsAShare compares the shares of the methods with the weights for 1, 8, 32
// and 256 clients: within four standard deviations of a fair draw, plus 2 % of all
// requests, because unequal weights give way to the requests in flight.
func TestBalanceIsAShare(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	for _, method := range []upstream.Method{upstream.Least, upstream.RoundRobin, upstream.Random} {
		for _, weights := range [][]int{{100, 100}, {90, 10}, {99, 1}, {100, 100, 100}, {50, 30, 20}, {100, 100, 10, 1}} {
			for _, clients := range []int{1, 8, 32, 256} {
				t.Run(fmt.Sprint(method, weights, clients), func(t *testing.T) {
					p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: method}}, weighted(weights...)...)
					const n = 4000
					holdShares(t, closedLoop(t, p, clients, n, noisy()), weights, 0.02)
				})
			}
		}
	}
}

// holdShares compares what members got with their weights.
func holdShares(t *testing.T, got map[string]int, weights []int, besides float64) {
	t.Helper()
	n, sum := 0, 0
	for i, w := range weights {
		n += got[strconv.Itoa(i)]
		sum += w
	}
	for i, w := range weights {
		share := float64(w) / float64(sum)
		want := float64(n) * share
		if d := math.Abs(float64(got[strconv.Itoa(i)]) - want); d > 4*math.Sqrt(want*(1-share))+besides*float64(n) {
			t.Errorf("weights %v got %v of %d, want about %.0f for number %d", weights, got, n, want, i)
		}
	}
}

// TestThreeHundredOneByOne: no tiny difference in latency decides for good.
func TestThreeHundredOneByOne(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	hair := func(id string, _ int) time.Duration {
		if id == "0" {
			return 310 * time.Microsecond
		}
		return 300 * time.Microsecond
	}
	for _, weights := range [][]int{{100, 100}, {90, 10}} {
		p := ready(t, r, upstream.PoolOptions{}, weighted(weights...)...)
		got := closedLoop(t, p, 1, 300, hair)
		t.Logf("weights %v got %v", weights, got)
		holdShares(t, got, weights, 0)
	}
}

// TestWeightsBesideAColdOne: warm members share by weight, the cold one gets little.
func TestWeightsBesideAColdOne(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: time.Hour})
	for _, method := range []upstream.Method{upstream.Least, upstream.RoundRobin, upstream.Random} {
		for _, clients := range []int{1, 8, 32, 256} {
			p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: method}}, weighted(90, 10, 100)...)
			for i := range 2 {
				upstream.SetReadySince(p.Members()[i].Endpoint, time.Now().Add(-2*time.Hour))
			}
			const n = 4000
			got := closedLoop(t, p, clients, n, noisy())
			if cold := got["2"]; cold == 0 || cold > n/10 {
				t.Errorf("method %d, %d clients: the cold one got %d of %d", method, clients, cold, n)
			}
			holdShares(t, got, []int{90, 10}, 0.02)
		}
	}
}

// TestASlowOneIsAvoidedAndNotStarved: an instance a hundred times slower gets
// hardly any request and holds few clients up, whatever its weight.
func TestASlowOneIsAvoidedAndNotStarved(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	slow := func(id string, _ int) time.Duration {
		if id == "0" {
			return 200 * time.Millisecond
		}
		return 2 * time.Millisecond
	}
	for _, weights := range [][]int{{100, 100}, {90, 10}, {100, 100, 100, 100}} {
		for _, clients := range []int{1, 8, 32} {
			p := ready(t, r, upstream.PoolOptions{}, weighted(weights...)...)
			const n = 20000
			got := closedLoop(t, p, clients, n, slow)
			if s := got["0"]; s < 10 || s > n/25+clients {
				t.Errorf("weights %v, %d clients: the slow one got %d of %d", weights, clients, s, n)
			}
		}
	}
}

// TestABusyOneIsNotSlow: if latency grows with the load of an instance, an instance
// with nine tenths of the weight keeps nine tenths of the requests in flight, although
// it is slower then.
func TestABusyOneIsNotSlow(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	p := ready(t, r, upstream.PoolOptions{}, weighted(90, 10)...)
	inflight, samples := 0, 0
	closedLoop(t, p, 64, 20000, func(_ string, n int) time.Duration {
		inflight += p.Members()[0].Endpoint.Inflight()
		samples++
		return time.Millisecond * time.Duration(1+n)
	})
	if mean := inflight / samples; mean < 54 || mean > 61 {
		t.Errorf("it had %d of 64 requests in flight, want about 58", mean)
	}
}

// TestTheLostOnesShareIsEverybodys: the neighbour of an unavailable instance gets no
// more of its share than others.
func TestTheLostOnesShareIsEverybodys(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1, EjectAfter: 1, EjectTime: time.Hour})
	for _, method := range []upstream.Method{upstream.Least, upstream.RoundRobin, upstream.Random} {
		for _, weights := range [][]int{{100, 100, 100, 100}, {50, 60, 20, 20}} {
			p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: method}}, weighted(weights...)...)
			fail(p, 0, 1, broken)
			got := closedLoop(t, p, 1, 6000, noisy())
			if got["0"] > 0 {
				t.Errorf("the ejected one got %d", got["0"])
			}
			holdShares(t, got, append([]int{0}, weights[1:]...), 0.02)
		}
	}
}

// TestPreferKeepsTheMethod: among the near members the route's method decides, and slow
// start works.
func TestPreferKeepsTheMethod(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: time.Hour})
	near := func(b upstream.Balance, cold int) *upstream.Pool {
		members := weighted(100, 200, 100, 100)
		members[0].Node, members[1].Node = "here", "here"
		p := ready(t, r, upstream.PoolOptions{Balance: b, Prefer: upstream.PreferNode, Node: "here"}, members...)
		for i := range members {
			if i != cold {
				upstream.SetReadySince(p.Members()[i].Endpoint, time.Now().Add(-2*time.Hour))
			}
		}
		return p
	}
	const n = 3000
	for _, method := range []upstream.Method{upstream.Least, upstream.RoundRobin, upstream.Random} {
		for _, clients := range []int{1, 8} {
			got := closedLoop(t, near(upstream.Balance{Method: method}, -1), clients, n, noisy())
			if got["2"]+got["3"] > 0 {
				t.Errorf("method %d: %v of %d, want near ones only", method, got, n)
			}
			holdShares(t, got, []int{100, 200}, 0.02)
		}
		if got := closedLoop(t, near(upstream.Balance{Method: method}, 1), 1, n, noisy()); got["1"] == 0 || got["1"] > n/8 || got["2"]+got["3"] > 0 {
			t.Errorf("method %d: %v of %d, want little for the cold one and the rest for the other near one", method, got, n)
		}
	}
	var last string
	p := near(upstream.Balance{Method: upstream.RoundRobin}, -1)
	for i := range 12 {
		if m := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false); m.ID == "0" && last == "0" {
			t.Fatalf("turn %d: the lighter one twice in a row", i)
		} else {
			p.End(time.Now(), m, good)
			last = m.ID
		}
	}
	p = near(upstream.Balance{Method: upstream.HashHeader, Name: "x-key"}, -1)
	got := make(map[string]int)
	for i := range n {
		a := attributes{headers: map[string]string{"x-key": strconv.Itoa(i)}}
		first := p.Pick(time.Now(), a, &upstream.Tried{}, false)
		p.End(time.Now(), first, good)
		got[first.ID]++
		again := p.Pick(time.Now(), a, &upstream.Tried{}, false)
		p.End(time.Now(), again, good)
		if again != first {
			t.Fatalf("key %d went to %s and %s", i, first.ID, again.ID)
		}
	}
	if got["2"]+got["3"] > 0 {
		t.Errorf("hashed to %v, want near ones only", got)
	}
	holdShares(t, got, []int{100, 200}, 0.02)
}

// TestOneNearAndCold: requests for which it is too cold go to others.
func TestOneNearAndCold(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: time.Hour})
	members := weighted(100, 100, 100)
	members[0].Node = "here"
	p := ready(t, r, upstream.PoolOptions{Prefer: upstream.PreferNode, Node: "here"}, members...)
	for i := range 2 {
		upstream.SetReadySince(p.Members()[i+1].Endpoint, time.Now().Add(-2*time.Hour))
	}
	got := closedLoop(t, p, 1, 3000, noisy())
	if got["0"] == 0 || got["0"] > 500 {
		t.Errorf("got %v of 3000, want about a tenth for the near one", got)
	}
	holdShares(t, map[string]int{"0": got["1"], "1": got["2"]}, []int{1, 1}, 0.02)
}

// TestAlternatingWithACanary: requests of a canary in between do not change whose turn
// it is.
func TestAlternatingWithACanary(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	members := weighted(100, 100, 100)
	members[2].Canary = &upstream.Canary{Header: "x-canary", Value: "1"}
	p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.RoundRobin}}, members...)
	got := share(t, p, 300, func(i int) attributes {
		if i%2 == 0 {
			return attributes{headers: map[string]string{"x-canary": "1"}}
		}
		return anyone(i)
	})
	if got["0"] != 75 || got["1"] != 75 || got["2"] != 150 {
		t.Errorf("got %v, want 75, 75 and 150", got)
	}
}

// TestACanaryTakesOver: a canary with a percentage takes everything when no stable
// member is up, and only then.
func TestACanaryTakesOver(t *testing.T) {
	r := run(t, upstream.RegistryOptions{SlowStart: -1})
	members := weighted(100, 100)
	members[0].MaxInflight = 1
	members[1].Canary = &upstream.Canary{Percent: 10}
	p := ready(t, r, upstream.PoolOptions{}, members...)
	full := 0
	for range 200 {
		if p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false) == nil {
			full++
		}
	}
	if full < 150 {
		t.Errorf("with the stable one full, the canary of 10 %% took %d of 200", 200-full)
	}
	p.Members()[0].Endpoint.Unreachable(upstream.ErrConnect)
	only := upstream.NewPool(p.Members()[1:], upstream.PoolOptions{}, p.Room())
	if got := share(t, only, 100, anyone); got["1"] != 100 {
		t.Errorf("a canary that is alone got %v of 100", got)
	}
}

// TestEveryMethod checks for each method what a pool promises for all methods: every
// available member gets requests, no other does, and no member is better than an
// unavailable one.
func TestEveryMethod(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	words := make(map[string]bool)
	for i, method := range upstream.Methods() {
		if method.Word == "" || method.Meaning == "" || words[method.Word] {
			t.Errorf("method %d has no word of its own, or no documentation: %+v", i, method)
		}
		words[method.Word] = true
		members := weighted(100, 100, 100, 0)
		members[2].MaxInflight = 1
		p := ready(t, r, upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.Method(i), Name: "x"}}, members...)
		full := p.Members()[2]
		taken := make(map[*upstream.Member]int)
		for client := range 2000 {
			var tried upstream.Tried
			key := strconv.Itoa(client)
			m := p.Pick(time.Now(), attributes{headers: map[string]string{"x": key}, cookies: map[string]string{"x": key}, ip: key}, &tried, false)
			if m == nil {
				t.Fatalf("%s finds no member", method.Form())
			}
			if taken[m]++; m != full {
				p.End(time.Now(), m, upstream.Outcome{Status: 200})
			}
		}
		if taken[full] != 1 || taken[p.Members()[0]] == 0 || taken[p.Members()[1]] == 0 || taken[p.Members()[3]] > 0 {
			t.Errorf("%s sends requests to %v; want one to the third, which has one place, and none to the fourth", method.Form(), taken)
		}
	}
}
