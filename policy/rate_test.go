package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"serai/wire"
)

func perSecond(n, burst int) *Rate { return &Rate{Number: n, Per: time.Second, Burst: burst} }

// asked is what a List says to a request: the status of the refusal, 0 for none, and the
// fields of the answer, by name.
func asked(l *List, r *request) (status int, fields map[string]string) {
	r.learned.Reset()
	reply := &Reply{Values: &wire.Values{}}
	if l.Request(r, reply) {
		status = reply.Status
	}
	h := &wire.ResponseHead{Fields: reply.Fields}
	l.Answer(&Answer{Request: r, Head: h, Own: status != 0, Values: &wire.Values{}})
	fields = make(map[string]string)
	for _, f := range h.Fields {
		fields[string(f.Name)] += string(f.Value)
	}
	return status, fields
}

func from(client string) *request { return &request{client: netip.MustParseAddr(client)} }

// bubble hides the test's deadline from rapid: within synctest it must not be read.
type bubble struct{ rapid.TB }

// model is GCRA as its specification has it, without a table.
type model struct {
	full map[int]time.Time
}

func (m *model) take(key int, now time.Time, every time.Duration, burst int) bool {
	full := m.full[key]
	if full.Before(now) {
		full = now
	}
	if full.Add(every).Sub(now) > every*time.Duration(burst) {
		return false
	}
	m.full[key] = full.Add(every)
	return true
}

// TestRateModel compares a table that has room for all keys with the model.
func TestRateModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			table, m := newRateTable(NewRates(0)), &model{make(map[int]time.Time)}
			r := Rate{Number: rapid.IntRange(1, 1000).Draw(t, "number"), Per: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour}).Draw(t, "per")}
			burst, every := rapid.IntRange(1, 50).Draw(t, "burst"), r.every()
			for range 200 {
				time.Sleep(time.Duration(rapid.Int64Range(0, int64(2*every)).Draw(t, "pause")) * time.Duration(rapid.IntRange(0, 1).Draw(t, "or none")))
				key := rapid.IntRange(0, 20).Draw(t, "key")
				want := m.take(key, time.Now(), every, burst)
				v := table.take(uint64(key)*0x9e3779b97f4a7c15+1, every, burst)
				left := max(0, time.Until(m.full[key]))
				if v.ok != want || v.full != left || v.wait != max(0, left+every-every*time.Duration(burst)) {
					t.Fatalf("key %d: %+v; want %v, and all back in %v", key, v, want, left)
				}
			}
		})
	})
}

// TestRateIsNeverExceeded: with next to no memory, and many more keys than it has room
// for, no key gets more than its share, however the keys displace each other.
func TestRateIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(bubble{t}, func(t *rapid.T) {
			rates := NewRates(1)
			table := newRateTable(rates)
			every, burst := time.Duration(rapid.IntRange(1, 1000).Draw(t, "every"))*time.Millisecond, rapid.IntRange(1, 5).Draw(t, "burst")
			passed := make(map[uint64][]time.Time)
			for range 600 {
				time.Sleep(time.Duration(rapid.Int64Range(0, int64(every)/4).Draw(t, "pause")))
				key := rapid.Uint64Range(1, 60).Draw(t, "key") * rateShards // of one shard
				if table.take(key, every, burst).ok {
					passed[key] = append(passed[key], time.Now())
				}
			}
			for key, times := range passed {
				for i := range times {
					for j := i + burst; j < len(times); j++ { // the requests i to j are j-i+1
						if most := burst + int(times[j].Sub(times[i])/every); j-i+1 > most {
							t.Fatalf("key %d: %d requests in %v, want at most %d", key, j-i+1, times[j].Sub(times[i]), most)
						}
					}
				}
			}
			if s := rates.Status(); s.Keys != rateGroup {
				t.Fatalf("%+v", s)
			}
		})
	})
}

// TestRateObeyed: who waits as long as Retry-After says is let through, and who waits a
// second less is not.
func TestRateObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, r := range []*Rate{perSecond(3, 1), perSecond(100, 7), {Number: 7, Per: time.Minute, Burst: 3}, {Number: 1, Per: time.Hour, Burst: 1}} {
			l := ForRoute(&OfRoute{Rate: r}, &State{})
			client := from("192.0.2.1")
			for range 10 {
				status, fields := asked(l, client)
				for status == 0 {
					status, fields = asked(l, client)
				}
				wait, err := strconv.Atoi(fields["Retry-After"])
				if status != 429 || err != nil || wait < 1 {
					t.Fatalf("%v: %d with %v", r, status, fields)
				}
				if want := fmt.Sprintf(`"serai";r=0;t=%d`, wait); fields["RateLimit"] != want {
					t.Errorf("%v: RateLimit is %q, want %q", r, fields["RateLimit"], want)
				}
				if wait > 1 {
					time.Sleep(time.Duration(wait-1) * time.Second)
					if status, _ := asked(l, client); status == 0 {
						t.Errorf("%v: lets a client through a second early", r)
					}
					time.Sleep(time.Second)
				} else {
					time.Sleep(time.Second)
				}
				if status, _ := asked(l, client); status != 0 {
					t.Errorf("%v: refuses a client that has waited %d seconds", r, wait)
				}
			}
		}
	})
}

func TestRateFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ForRoute(&OfRoute{Rate: &Rate{Number: 60, Per: time.Minute, Burst: 3}}, &State{})
		client := from("192.0.2.1")
		for i, want := range []string{`"serai";r=2;t=1`, `"serai";r=1;t=2`, `"serai";r=0;t=1`, `"serai";r=0;t=1`} {
			status, fields := asked(l, client)
			if (status == 429) != (i == 3) || fields["RateLimit"] != want || fields["RateLimit-Policy"] != `"serai";q=60;w=60` {
				t.Errorf("request %d: %d, %v, want %s", i, status, fields, want)
			}
		}
		// What an instance says of its own limits stays, and so does a burst beyond the rate.
		l = ForRoute(&OfRoute{Rate: perSecond(2, 100)}, &State{})
		l.Request(client, &Reply{Values: &wire.Values{}})
		h := &wire.ResponseHead{Fields: fieldsOf("RateLimit: \"day\";r=7;t=100\n")}
		l.Answer(&Answer{Request: client, Head: h, Values: &wire.Values{}})
		if got, want := lines(h.Fields), "RateLimit: \"day\";r=7;t=100\r\nRateLimit-Policy: \"serai\";q=2;w=1\r\nRateLimit: \"serai\";r=2;t=1\r\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestRateFieldsOfSeveral: each of several rates tells its own count, also where one refuses.
func TestRateFieldsOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := RouteLayers([]Layer{
			{Route: &OfRoute{Rate: perSecond(10, 10)}},
			{Policy: "day", Route: &OfRoute{Rate: &Rate{Number: 2, Per: time.Hour, Burst: 2}}},
			{Policy: "one", Route: &OfRoute{Rate: &Rate{Number: 60, Per: time.Minute, Burst: 60}}},
		}, &State{})
		const policies = `"serai";q=10;w=1"serai-2";q=2;w=3600"serai-3";q=60;w=60`
		for i, want := range []struct{ limit, policies string }{
			{`"serai";r=9;t=1"serai-2";r=1;t=1800"serai-3";r=59;t=1`, policies},
			{`"serai";r=8;t=1"serai-2";r=0;t=1800"serai-3";r=58;t=2`, policies},
			{`"serai";r=7;t=1"serai-2";r=0;t=1800`, `"serai";q=10;w=1"serai-2";q=2;w=3600`},
		} {
			status, fields := asked(l, from("192.0.2.1"))
			if (status == 429) != (i == 2) || fields["RateLimit"] != want.limit || fields["RateLimit-Policy"] != want.policies {
				t.Errorf("request %d: %d, %v, want %+v", i, status, fields, want)
			}
			if status == 429 && fields["Retry-After"] != "1800" {
				t.Errorf("come back after %s", fields["Retry-After"])
			}
		}
	})
}

// TestRateOfNobodyCounted: an answer that another policy gave before says nothing.
func TestRateOfNobodyCounted(t *testing.T) {
	l := ForRoute(&OfRoute{Deny: addressesOf(t, "192.0.2.0/24"), Rate: perSecond(1, 1)}, &State{})
	for range 3 {
		if status, fields := asked(l, from("192.0.2.1")); status != 403 || fields["RateLimit"] != "" {
			t.Errorf("%d, %v", status, fields)
		}
	}
	if status, _ := asked(l, from("198.51.100.1")); status != 0 {
		t.Errorf("a client that is allowed gets %d", status)
	}
}

// TestRateBy: what is one client, and what are two.
func TestRateBy(t *testing.T) {
	withKey := func(client, key string) *request {
		r := from(client)
		r.head.Fields = fieldsOf("X-Api-Key: " + key)
		return r
	}
	on := func(client, host string) *request { r := from(client); r.host = host; return r }
	byHeader, byHost := perSecond(1, 1), perSecond(1, 1)
	byHeader.By, byHeader.Header = RateByHeader, "x-api-key"
	byHost.By = RateByHost
	for name, c := range map[string]struct {
		rate          *Rate
		first, second *request
		same          bool
	}{
		"one address":             {perSecond(1, 1), from("192.0.2.1"), from("192.0.2.1"), true},
		"two addresses":           {perSecond(1, 1), from("192.0.2.1"), from("192.0.2.2"), false},
		"one /64":                 {perSecond(1, 1), from("2001:db8:1:2::1"), from("2001:db8:1:2:ffff:ffff:ffff:ffff"), true},
		"two /64":                 {perSecond(1, 1), from("2001:db8:1:2::1"), from("2001:db8:1:3::1"), false},
		"IPv4 and IPv6 alike":     {perSecond(1, 1), from("192.0.2.1"), from("c000:201::"), false},
		"two that are not known":  {perSecond(1, 1), &request{}, &request{}, true},
		"one that is not known":   {perSecond(1, 1), &request{}, from("0.0.0.0"), false},
		"an address, two fields":  {perSecond(1, 1), withKey("192.0.2.1", "a"), withKey("192.0.2.1", "b"), true},
		"one key":                 {byHeader, withKey("192.0.2.1", "a"), withKey("192.0.2.2", "a"), true},
		"two keys":                {byHeader, withKey("192.0.2.1", "a"), withKey("192.0.2.1", "b"), false},
		"no key":                  {byHeader, from("192.0.2.1"), from("192.0.2.1"), true},
		"an empty key":            {byHeader, from("192.0.2.1"), withKey("192.0.2.1", ""), true},
		"no key, of two":          {byHeader, from("192.0.2.1"), from("192.0.2.2"), false},
		"a key like an address":   {byHeader, from("1.2.3.4"), withKey("192.0.2.1", "\x04\x01\x02\x03\x04"), false},
		"one host":                {byHost, on("192.0.2.1", "a.test"), on("192.0.2.2", "a.test"), true},
		"two hosts of one client": {byHost, on("192.0.2.1", "a.test"), on("192.0.2.1", "b.test"), false},
	} {
		l := ForRoute(&OfRoute{Rate: c.rate}, &State{})
		first, _ := asked(l, c.first)
		second, _ := asked(l, c.second)
		if first != 0 || (second == 429) != c.same {
			t.Errorf("%s: %d, then %d", name, first, second)
		}
	}
}

// TestRateOutlivesTables: a deploy lets nobody start again, unless it changes the rate.
func TestRateOutlivesTables(t *testing.T) {
	s, client := &State{}, from("192.0.2.1")
	ask := func(r *Rate) int { status, _ := asked(ForRoute(&OfRoute{Rate: r}, s), client); return status }
	hourly := &Rate{Number: 1, Per: time.Hour, Burst: 1}
	if first, second := ask(hourly), ask(hourly); first != 0 || second != 429 {
		t.Errorf("%d, and after a deploy %d", first, second)
	}
	if status := ask(perSecond(10, 10)); status != 0 {
		t.Errorf("a client that has used up an hour's rate gets %d from a new one", status)
	}
	if status := ask(hourly); status != 429 {
		t.Errorf("a deploy and its revert give a client %d", status)
	}
}

func TestRateExplained(t *testing.T) {
	for want, r := range map[string]*Rate{
		"rate: 100/s on this node for each client address, of IPv6 its /64; 7 may come at once, and those beyond are answered 429":                                          perSecond(100, 7),
		"rate: 5/m on this node for each host; 5 may come at once, and those beyond are answered 429":                                                                       {Number: 5, Per: time.Minute, Burst: 5, By: RateByHost},
		"rate: 5/h on this node for each value of the field x-key, or where that is missing for each client address; 5 may come at once, and those beyond are answered 429": {Number: 5, Per: time.Hour, Burst: 5, By: RateByHeader, Header: "x-key"},
	} {
		if got := Explain(ForRoute(&OfRoute{Rate: r}, &State{}), nil); strings.Join(got, "|") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
