package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// plain is a program of two services, whose requests come one after the other
// on each of six connections.
func plain(sizes ...int) *Program {
	p := &Program{Seed: 1}
	for n := range 2 {
		s := &Service{Name: fmt.Sprintf("s%d", n+1), Flavour: Tame, Own: make([][]string, 2)}
		s.Tags = []*Tag{{Name: s.Name + ".t1", Key: "host", Value: s.Name + ".chaos"}}
		p.Services = append(p.Services, s)
	}
	for n := range 6 {
		s := p.Services[n%2]
		c := &Client{Name: fmt.Sprintf("c%d", n+1), Abort: -1}
		for i, size := range sizes {
			r := &Request{Name: fmt.Sprintf("%s.r%d", c.Name, i+1), ID: uint64(1000*n + i + 1000), Service: s, Host: s.Name + ".chaos", Minor: 1, Path: "/",
				Method: []string{"POST", "GET", "PUT"}[i%3], Framing: []Framing{Length, None, Chunked}[i%3], Size: size, Chunk: 100,
				Answers: []Answer{{Status: 200, Framing: []Framing{Length, Chunked, Close}[n%3], Size: size + 10, Chunk: 77}}}
			if r.Framing == None {
				r.Size = 0
			}
			c.Requests = append(c.Requests, r)
		}
		p.Clients = append(p.Clients, c)
	}
	return p
}

// queue is a program of clients that are judged by their order, at one
// instance with so many places.
func queue(places int) *Program {
	s := &Service{Name: "s1", Flavour: Queue, Own: make([][]string, 1)}
	s.Tags = []*Tag{{Name: "s1.t1", Key: "host", Value: "s1.chaos"}, {Name: "s1.t2", Key: "max-inflight", Value: fmt.Sprint(places)}}
	p := &Program{Services: []*Service{s}}
	for n := range 16 {
		c := &Client{Name: fmt.Sprintf("c%d", n+1), Start: time.Duration(n) * 40 * time.Millisecond, Abort: -1}
		c.Requests = []*Request{{Name: c.Name + ".r1", ID: uint64(n + 1), Service: s, Host: "s1.chaos", Minor: 1, Path: "/", Method: "GET", Framing: None,
			Answers: []Answer{{Status: 200, Framing: Length, Size: 3, Delay: 30 * time.Millisecond}}}}
		p.Clients = append(p.Clients, c)
	}
	return p
}

// alone leaves a program its first client.
func alone(p *Program) *Program {
	p.Clients = p.Clients[:1]
	return p
}

// TestOracles plants broken promises, one at a time, and wants each found for
// what it is.
func TestOracles(t *testing.T) {
	leaving := func() *Program {
		p := plain(5000)
		for _, c := range p.Clients {
			c.Abort = 3000
		}
		return p
	}
	for planted, want := range map[plant]struct {
		program *Program
		oracle  string
	}{
		honest:         {plain(0, 1, 5000, 70_000), ""},
		repeats:        {plain(10), "at most once"},
		shortens:       {plain(500), "no cut answer looks whole"},
		flipsAnswer:    {plain(500), "every byte is the instance's"},
		flipsRequest:   {plain(500), "a byte that the client did not send"},
		completes:      {leaving(), "a cut request looks whole"},
		swaps:          {plain(1, 2), "no answer of another"},
		misroutes:      {plain(1), "another's request"},
		otherHost:      {plain(1), "another host"},
		misnames:       {plain(1), "who the client is"},
		dawdles:        {queue(100), "nobody waits while there is room"},
		overtakes:      {queue(100), "in order"},
		fails:          {plain(1, 2), "only allowed failures"},
		dies:           {plain(1), "the process lives"},
		miscounts:      {plain(1), "counters add up"},
		answersItself:  {plain(1, 2), "no answer of another"},
		closesSilently: {alone(plain(1, 2, 3)), "an answer says that the connection ends"},
	} {
		t.Run(string(planted), func(t *testing.T) {
			t.Parallel()
			found, _, err := play(t.Context(), want.program, plants(planted))
			if err != nil {
				t.Fatal(err)
			}
			if want.oracle == "" && len(found) > 0 {
				t.Errorf("an honest proxy is blamed: %v", found)
			}
			is := func(f Finding) bool { return f.Oracle == want.oracle }
			// What is judged by time is not judged on a machine that is too busy.
			if timed := planted == dawdles || planted == overtakes; want.oracle != "" && !slices.ContainsFunc(found, is) && !timed {
				t.Errorf("not found: %q; but %v", want.oracle, found)
			} else if timed && !slices.ContainsFunc(found, is) {
				t.Logf("not found: %q; but %v", want.oracle, found)
			}
		})
	}
}

// TestGuardOracles has a proxy without guards serve services that have some.
func TestGuardOracles(t *testing.T) {
	for tag, oracle := range map[Tag]string{
		{Key: "auth", Value: authName}:                           "a request that is no instance's",
		{Key: "policies", Value: "outside"}:                      "a request that is no instance's",
		{Key: "deny", Value: "127.0.0.0/8"}:                      "a request that is no instance's",
		{Key: "rate", Value: "5/h"}:                              "rates",
		{Key: "cors", Value: "https://else.example"}:             "cors",
		{Key: "allow", Value: "127.0.0.0/8,2001:db8::/32"}:       "",
		{Key: "rate", Value: "1000000/h"}:                        "",
		{Key: "cors", Value: "https://*.else.example,https://b"}: "",
	} {
		t.Run(tag.String(), func(t *testing.T) {
			t.Parallel()
			p := plain(1, 2, 3)
			for _, s := range p.Services {
				copied := tag
				copied.Name = s.Name + ".t2"
				s.Tags = append(s.Tags, &copied)
			}
			for _, c := range p.Clients {
				for _, q := range c.Requests {
					q.Fields = []string{"Origin: https://else.example"}
				}
			}
			found, _, err := play(t.Context(), p, plants(honest))
			if err != nil {
				t.Fatal(err)
			}
			if is := func(f Finding) bool { return f.Oracle == oracle }; oracle == "" && len(found) > 0 || oracle != "" && !slices.ContainsFunc(found, is) {
				t.Errorf("found %v, want %q", found, oracle)
			}
		})
	}
}

// TestWhoTheClientIs: behind a trusted proxy the last address that is not one itself, and
// nobody's word otherwise.
func TestWhoTheClientIs(t *testing.T) {
	for _, c := range []struct {
		client *Client
		said   string
		want   string
	}{
		{&Client{}, "192.0.2.9", loopback}, {nil, "192.0.2.9", loopback}, {&Client{Announced: "v2", Believed: true}, "192.0.2.9", announcedAs},
		{&Client{Believed: true}, "192.0.2.9", "192.0.2.9"}, {&Client{Believed: true}, "6.6.6.6, 192.0.2.9", "192.0.2.9"}, {&Client{Believed: true}, "192.0.2.9, " + loopback, "192.0.2.9"},
		{&Client{Believed: true}, loopback, loopback}, {&Client{Believed: true}, "192.0.2.9, unknown", ""},
	} {
		if got := c.client.address(&Request{Fields: []string{"X-Forwarded-For: " + c.said}}); got != c.want {
			t.Errorf("%+v who says %q is %q, want %q", c.client, c.said, got, c.want)
		}
	}
}

// TestLimitOracle has a proxy without limits exceed max-inflight.
func TestLimitOracle(t *testing.T) {
	p := queue(1)
	for _, c := range p.Clients {
		c.Start = 0
		c.Requests[0].Answers[0].Delay = 200 * time.Millisecond
	}
	found, _, err := play(t.Context(), p, plants(honest))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.Oracle == "max-inflight" }) {
		t.Errorf("sixteen requests at once at an instance with one place are not found: %v", found)
	}
}

// TestLeftOver has a proxy that never ends its requests.
func TestLeftOver(t *testing.T) {
	p := plain(1)
	l := newLedger(p)
	e := &episode{Program: p, ledger: l, settle: 100 * time.Millisecond, before: holdings{descriptors: 10, goroutines: 10}}
	k, err := plants(keepsSome)(p, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	k.(*crooked).count = 1
	e.proxy = k
	e.cluster = &cluster{rules: map[string]*rules{"s1": {}, "s2": {}}}
	e.judgeEnd()
	if !slices.ContainsFunc(l.found(), func(f Finding) bool { return f.Oracle == "nothing left over" }) {
		t.Errorf("a request in flight after all clients have gone is not found: %v", l.found())
	}
}

// TestRoom measures how long there was room while a request waited.
func TestRoom(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	all := []place{{came: at(0), left: at(100)}, {came: at(400), left: at(500)}}
	for _, c := range []struct{ from, until, places, want int }{
		{0, 100, 1, 0}, {0, 400, 1, 300}, {50, 200, 1, 100}, {50, 600, 1, 300}, {0, 100, 2, 100}, {200, 300, 1, 100},
	} {
		if got := longestRoom(all, at(c.from), at(c.until), c.places); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("from %d to %d ms with %d places: %v, want %d ms", c.from, c.until, c.places, got, c.want)
		}
	}
}

// TestShrink leaves out all but what breaks the promise.
func TestShrink(t *testing.T) {
	p := plain(1, 2)
	gone := shrink(t.Context(), p, "at most once", time.Minute, plants(repeats), t.Logf)
	rest := p.without(gone)
	if len(rest.Clients) != 1 || len(rest.Services) != 1 || len(rest.Clients[0].Requests) != 1 {
		t.Errorf("left is:\n%s", rest)
	}
}

// TestQueueJudge judges an order that is given, not one that this machine's
// other work may change.
func TestQueueJudge(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	// One instance with one place; each request is there for 100 ms.
	for name, c := range map[string]struct {
		sent, came []int // in milliseconds
		oracle     string
	}{
		"in order":       {[]int{0, 10, 20, 400}, []int{1, 101, 201, 401}, ""},
		"nearly so":      {[]int{0, 10, 20, 400}, []int{1, 201, 101, 401}, ""},
		"overtaken":      {[]int{0, 10, 300, 320}, []int{1, 501, 301, 401}, "in order"},
		"while was room": {[]int{0, 10}, []int{1, 701}, "nobody waits while there is room"},
	} {
		p := queue(1)
		p.Clients = p.Clients[:len(c.sent)]
		l := newLedger(p)
		e := &episode{Program: p, ledger: l, cluster: &cluster{rules: map[string]*rules{"s1": {maxInflight: 1}}}}
		for i, client := range p.Clients {
			q := client.Requests[0]
			l.outcomes[q] = &outcome{request: q, client: client, began: at(c.sent[i]), ended: at(c.came[i] + 101), sent: true}
			l.arrivals[q] = []*arrival{{request: q, at: at(c.came[i]), ended: at(c.came[i] + 100)}}
		}
		e.judgeQueues()
		is := func(f Finding) bool { return f.Oracle == c.oracle }
		if found := l.found(); c.oracle == "" && len(found) > 0 || c.oracle != "" && !slices.ContainsFunc(found, is) {
			t.Errorf("%s: want %q, found %v", name, c.oracle, found)
		}
	}
}
