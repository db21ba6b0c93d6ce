package chaos

import (
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// seen is an episode of one service whose outcome is given, not played.
type seen struct {
	*episode
	service *Service
	start   time.Time
}

// see makes an episode of a service with these tags and two instances, which were
// ready all the time.
func see(t *testing.T, f Flavour, tags ...string) *seen {
	t.Helper()
	s := &Service{Name: "s1", Flavour: f, Own: make([][]string, 2)}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		s.Tags = append(s.Tags, &Tag{Key: key, Value: value})
	}
	r := rulesOf(s)
	p := &Program{Services: []*Service{s}}
	e := &episode{Program: p, ledger: newLedger(p), cluster: &cluster{program: p, rules: map[string]*rules{"s1": &r}}}
	n := &seen{e, s, time.Now()}
	look := look{members: make(map[string][]member)}
	for own := range s.Own {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
		i := &instance{service: s, rules: &r, own: own, name: fmt.Sprintf("s1-i%d", own+1), ledger: e.ledger, listener: listener}
		e.cluster.all = append(e.cluster.all, i)
		look.members["s1"] = append(look.members["s1"], member{Service: "s1", Alloc: i.name, State: "ready", Since: n.at(-1000)})
	}
	for _, ms := range []int{-500, 60_000} {
		look.began, look.ended = n.at(ms), n.at(ms+1)
		e.looks.all = append(e.looks.all, look)
	}
	return n
}

func (n *seen) at(ms int) time.Time { return n.start.Add(time.Duration(ms) * time.Millisecond) }

// ask notes a request of a client of its own that instance i (0 or 1) has answered.
func (n *seen) ask(i int, change func(q *Request, c *Client, o *outcome, a *arrival)) *outcome {
	ms := 10 * len(n.Clients)
	c := &Client{Name: fmt.Sprintf("c%d", len(n.Clients)+1), Abort: -1}
	q := &Request{Name: c.Name + ".r1", ID: uint64(len(n.Clients) + 1), Service: n.service, Host: "S1.chaos:80", Minor: 1, Method: "GET", Path: "/a", Query: "b=c", Framing: None,
		Answers: []Answer{{Status: 200, Framing: Length, Size: 10}}}
	c.Requests = []*Request{q}
	n.Clients = append(n.Clients, c)
	at := n.cluster.all[i]
	o := &outcome{request: q, client: c, began: n.at(ms), ended: n.at(ms + 5), sent: true, headSent: true, whole: true, status: 200, instance: at.name, headFields: &head{}}
	a := &arrival{request: q, instance: at, at: n.at(ms + 1), began: n.at(ms + 2), ended: n.at(ms + 3), whole: true, answered: true}
	if change != nil {
		change(q, c, o, a)
	}
	n.ledger.outcomes[q], n.ledger.arrivals[q] = o, []*arrival{a}
	return o
}

// want compares what was found with an oracle, empty for nothing.
func (n *seen) want(t *testing.T, name, oracle string) {
	t.Helper()
	found := n.ledger.found()
	is := func(f Finding) bool { return f.Oracle == oracle }
	if oracle == "" && len(found) > 0 || oracle != "" && !slices.ContainsFunc(found, is) {
		t.Errorf("%s: want %q, found %v", name, oracle, found)
	}
}

// TestShares: a share is far from its weight or near, and what was given while an
// instance was away does not count.
func TestShares(t *testing.T) {
	for name, c := range map[string]struct {
		lb, weights string
		first       func(i int) int
		away        bool
		oracle      string
	}{
		"equal":                    {"least", "", func(i int) int { return i % 2 }, false, ""},
		"all to one":               {"least", "", func(int) int { return 0 }, false, "shares"},
		"299 and 1":                {"round-robin", "", func(i int) int { return boolInt(i == 7) }, false, "shares"},
		"by weight":                {"random", "90 10", func(i int) int { return boolInt(i%10 == 0) }, false, ""},
		"against the weight":       {"random", "90 10", func(i int) int { return i % 2 }, false, "shares"},
		"a tenth gets none":        {"least", "100 100", func(i int) int { return boolInt(i%5 == 0) }, false, "shares"},
		"all to one, one was away": {"least", "", func(int) int { return 0 }, true, ""},
	} {
		n := see(t, Shared, "host=s1.chaos", "lb="+c.lb)
		for i, w := range strings.Fields(c.weights) {
			n.service.Own[i] = []string{"ingress.weight=" + w}
		}
		if c.away {
			n.looks.all[1].members = map[string][]member{"s1": {{Alloc: "s1-i1", State: "ready", Since: n.at(-1000)}, {Alloc: "s1-i2", State: "probing", Since: n.at(-1000)}}}
		}
		for i := range 300 {
			n.ask(c.first(i), func(q *Request, _ *Client, _ *outcome, _ *arrival) { q.Answers[0].Delay = 5 * time.Millisecond })
		}
		n.judgeShares()
		n.want(t, name, c.oracle)
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSlowInstanceIsNoShare: lb=least may pass over what was slow.
func TestSlowInstanceIsNoShare(t *testing.T) {
	n := see(t, Shared, "host=s1.chaos")
	for range 300 {
		n.ask(0, nil) // planned are 0 ms, and it takes 5
	}
	n.judgeShares()
	n.want(t, "slow", "")
}

// TestKeys: a key of lb=hash moves, or all keys go to one instance.
func TestKeys(t *testing.T) {
	for name, c := range map[string]struct {
		first  func(key, i int) int
		oracle string
	}{
		"stay":        {func(key, _ int) int { return key % 2 }, ""},
		"one moves":   {func(key, i int) int { return (key + boolInt(i == 250)) % 2 }, "shares"},
		"all one way": {func(int, int) int { return 1 }, "shares"},
	} {
		n := see(t, Shared, "host=s1.chaos", "lb=hash:header:X-Key")
		for i := range 300 {
			n.ask(c.first(i%100, i), func(q *Request, _ *Client, _ *outcome, _ *arrival) { q.Fields = []string{fmt.Sprint("X-Key: ", i%100)} })
		}
		n.judgeShares()
		n.want(t, name, c.oracle)
	}
}

// TestStickyJudge plants broken cookies.
func TestStickyJudge(t *testing.T) {
	give := func(n *seen, i int, value, more string) {
		n.ask(i, func(_ *Request, _ *Client, o *outcome, _ *arrival) {
			o.headFields.fields = [][2]string{{"Set-Cookie", "stay=" + value + "; Path=/; HttpOnly; SameSite=Lax" + more}}
		})
	}
	send := func(n *seen, i int, value string, fields ...[2]string) {
		n.ask(i, func(_ *Request, _ *Client, o *outcome, _ *arrival) {
			o.cookie, o.headFields.fields = "stay="+value, fields
		})
	}
	again := [2]string{"Set-Cookie", "stay=bbb; Path=/; HttpOnly; SameSite=Lax"}
	for name, c := range map[string]struct {
		plant  func(n *seen)
		oracle string
	}{
		"stays":               {func(n *seen) { give(n, 0, "aaa", ""); send(n, 0, "aaa") }, ""},
		"moved for nothing":   {func(n *seen) { give(n, 0, "aaa", ""); send(n, 1, "aaa", again) }, "sticky"},
		"moved, it was away":  {func(n *seen) { give(n, 0, "aaa", ""); n.cluster.all[0].gone = n.at(1); send(n, 1, "aaa", again) }, ""},
		"moved, and told not": {func(n *seen) { give(n, 0, "aaa", ""); n.cluster.all[0].gone = n.at(1); send(n, 1, "aaa") }, "sticky"},
		"given again":         {func(n *seen) { give(n, 1, "bbb", ""); send(n, 1, "bbb", again) }, "sticky"},
		"none is given":       {func(n *seen) { n.ask(0, nil) }, "sticky"},
		"one for two":         {func(n *seen) { give(n, 0, "aaa", ""); give(n, 1, "aaa", "") }, "sticky"},
		"two for one":         {func(n *seen) { give(n, 0, "aaa", ""); give(n, 0, "bbb", "") }, "sticky"},
		"another attribute":   {func(n *seen) { give(n, 0, "aaa", "; Domain=chaos") }, "sticky"},
		"tells the address":   {func(n *seen) { give(n, 0, n.cluster.all[0].address(), "") }, "sticky"},
		"tells it encoded": {func(n *seen) {
			give(n, 0, base64.RawURLEncoding.EncodeToString([]byte(n.cluster.all[0].address())), "")
		}, "sticky"},
	} {
		n := see(t, Tame, "host=s1.chaos", "sticky=stay")
		c.plant(n)
		n.judgeSticky()
		n.want(t, name, c.oracle)
	}
}

// TestPolicyJudge plants answers that a policy has not seen.
func TestPolicyJudge(t *testing.T) {
	for name, c := range map[string]struct {
		tags   string
		tls    bool
		status int
		reason string
		fields [][2]string
		oracle string
	}{
		"hsts":                 {"hsts=max-age=9", true, 200, "", [][2]string{{hstsField, "max-age=9"}}, ""},
		"hsts over plain":      {"hsts=max-age=9", false, 200, "", [][2]string{{hstsField, "max-age=9"}}, "policies"},
		"no hsts":              {"hsts=max-age=9", true, 200, "", nil, "policies"},
		"no hsts on serai's":   {"hsts=max-age=9", true, 502, "upstream-closed", nil, "policies"},
		"twice":                {"hsts=max-age=9", true, 200, "", [][2]string{{hstsField, "max-age=1"}, {hstsField, "max-age=9"}}, "policies"},
		"no route, no hsts":    {"hsts=max-age=9", true, 404, "no-path", nil, ""},
		"hsts of the instance": {"response-remove=" + hstsField, true, 200, "", [][2]string{{hstsField, "max-age=1"}}, "policies"},
		"a field is set":       {"response-set=X-Told:{path}", true, 200, "", [][2]string{{"X-Told", "/a"}}, ""},
		"not on serai's":       {"response-set=X-Told:{path}", true, 502, "upstream-closed", nil, "policies"},
		"another value":        {"response-set=X-Told:{{1}", true, 200, "", [][2]string{{"X-Told", "{{1}"}}, "policies"},
		"redirect":             {"redirect=https", false, 308, "redirect", [][2]string{{"Location", "https://s1.chaos/a?b=c"}}, ""},
		"to elsewhere":         {"redirect=https://x{path}?{query}", false, 308, "redirect", [][2]string{{"Location", "https://x/a?b=c"}}, ""},
		"another status":       {"redirect=https redirect-status=301", false, 308, "redirect", [][2]string{{"Location", "https://s1.chaos/a?b=c"}}, "policies"},
		"another location":     {"tls=only", false, 308, "redirect", [][2]string{{"Location", "https://s1.chaos/"}}, "policies"},
		"redirect for nothing": {"", false, 308, "redirect", [][2]string{{"Location", "https://s1.chaos/a?b=c"}}, "policies"},
	} {
		n := see(t, Tame, append(strings.Fields(c.tags), "host=s1.chaos")...)
		o := n.ask(0, func(_ *Request, client *Client, o *outcome, _ *arrival) {
			client.TLS, o.status, o.reason, o.headFields.fields = c.tls, c.status, c.reason, c.fields
		})
		n.judgePolicies(o)
		n.want(t, name, c.oracle)
	}
}

// TestHalfCloseJudge plants answers that a half-closed client lost.
func TestHalfCloseJudge(t *testing.T) {
	for name, c := range map[string]struct {
		after  int // ms from the half-close to the answer's begin
		status int
		whole  bool
		f      Framing
		oracle string
	}{
		"whole":               {10, 200, true, Chunked, ""},
		"lost, in time":       {10, 0, false, Chunked, "a half-closed client is answered"},
		"lost, late":          {300, 0, false, Chunked, ""},
		"cut, known length":   {300, 200, false, Length, "a half-closed client is answered"},
		"cut, unknown length": {300, 200, false, Chunked, ""},
	} {
		n := see(t, Tame, "host=s1.chaos")
		o := n.ask(0, func(q *Request, client *Client, o *outcome, a *arrival) {
			client.HalfClose, o.halfClosed, a.began = true, n.at(1), n.at(1+c.after)
			o.status, o.whole, q.Answers[0].Framing = c.status, c.whole, c.f
		})
		n.judgeHalfClose(o, n.ledger.arrivals[o.request])
		n.want(t, name, c.oracle)
	}
}

// TestPaceJudge plants bodies that are ended, or sent on, too soon or never.
func TestPaceJudge(t *testing.T) {
	for name, c := range map[string]struct {
		late, arrived int // ms; the last byte leaves at 100
		status        int
		reason        string
		sent          bool
		oracle        string
	}{
		"fast":              {0, 101, 200, "", true, ""},
		"fast, and refused": {500, 101, 408, "body-slow", true, "only slow clients are told so"},
		"slow":              {1500, 101, 408, "body-slow", true, ""},
		"slow, and taken":   {2600, 101, 200, "", true, "slow bodies end"},
		"sent on too soon":  {0, 50, 200, "", true, "small bodies come whole"},
	} {
		n := see(t, Tame, "host=s1.chaos")
		o := n.ask(0, func(q *Request, _ *Client, o *outcome, a *arrival) {
			q.Method, q.Framing, q.Size = "POST", Length, 100
			o.late, o.lastByte, o.status, o.reason = time.Duration(c.late)*time.Millisecond, n.at(100), c.status, c.reason
			a.at, a.began = n.at(c.arrived), n.at(c.arrived+50)
		})
		n.judgePace(o, n.ledger.arrivals[o.request])
		n.want(t, name, c.oracle)
	}
}

// TestSlowEndJudge: a connection that ends behind a whole answer which did not say so, as it
// does where that answer came early and its request's body comes too slowly.
func TestSlowEndJudge(t *testing.T) {
	for name, c := range map[string]struct {
		late   int // ms, of the request before
		oracle string
	}{
		"the body before came in time":    {0, "an answer says that the connection ends"},
		"the body before came too slowly": {1500, ""},
	} {
		n := see(t, Tame, "host=s1.chaos")
		before := n.ask(0, func(q *Request, _ *Client, o *outcome, _ *arrival) {
			q.Method, q.Framing, q.Size = "POST", Length, 33
			o.late = time.Duration(c.late) * time.Millisecond
		})
		o := n.ask(0, func(_ *Request, _ *Client, o *outcome, _ *arrival) {
			o.before, o.status, o.whole, o.reason, o.end = before, 0, false, "", endClosed
		})
		n.judgeFailure(o)
		n.want(t, name, c.oracle)
	}
}

// TestWaitingBytesJudge: queue-full for who has less than its share, or more.
func TestWaitingBytesJudge(t *testing.T) {
	for name, c := range map[string]struct {
		flags  []string
		oracle string
	}{
		"less than its share":    {[]string{"--max-waiting-bytes=1000000"}, "shares of what waits"},
		"more than its share":    {[]string{"--max-waiting-bytes=10000"}, ""},
		"refused by its number":  {[]string{"--max-waiting-bytes=1000000", "--max-waiting=1"}, ""},
		"nothing is said of it":  {nil, ""},
		"and by another service": {[]string{"--max-waiting-bytes=20000"}, ""},
	} {
		n := see(t, Queue, "host=s1.chaos")
		n.Flags = c.flags
		n.ask(0, func(_ *Request, _ *Client, o *outcome, _ *arrival) { o.status, o.reason = 503, "queue-full" })
		n.judgeWaitingBytes()
		n.want(t, name, c.oracle)
	}
}
