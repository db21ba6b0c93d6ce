package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"serai/upstream"
)

// TestConnectionsAreDivided: a job whose requests hold all the connections that they get
// leaves some for other jobs, and more for those of other namespaces. One that is alone
// gets all.
func TestConnectionsAreDivided(t *testing.T) {
	const most, forRequests = 128, 112
	r := run(t, upstream.RegistryOptions{MaxConns: most, IdleTimeout: time.Hour, MaxIdle: -1})
	address := listen(t, "127.0.0.1:0").Addr().String()
	member := func(namespace, job string) *upstream.Endpoint {
		e := r.Acquire(upstream.Target{Address: address, Instance: namespace + job, Namespace: namespace, Job: job})
		t.Cleanup(func() { r.Release(e) })
		return e
	}
	flood := func(e *upstream.Endpoint) (open []net.Conn) {
		t.Cleanup(func() {
			for _, c := range open {
				c.Close()
			}
		})
		for {
			c, _, err := e.Dial(context.Background(), netip.AddrPort{}, "", nil)
			if errors.Is(err, upstream.ErrNoDescriptor) {
				return open
			} else if err != nil {
				t.Fatal(err)
			}
			open = append(open, c)
		}
	}
	greedy := member("a", "greedy")
	await(t, "the end of the probe", func() bool { return greedy.State() == upstream.Ready && r.Connections().Open == 0 })
	open := flood(greedy)
	if len(open) != forRequests {
		t.Fatalf("one that is alone gets %d of %d", len(open), forRequests)
	}
	for _, c := range open {
		c.Close()
	}
	modest, stranger := member("a", "modest"), member("b", "stranger")
	for _, e := range []*upstream.Endpoint{modest, stranger} {
		await(t, "the end of the probe", func() bool { return e.State() == upstream.Ready && r.Connections().Open == 0 })
	}
	if open = flood(greedy); len(open) < forRequests/4*3 {
		t.Errorf("the greedy one gets %d of %d", len(open), forRequests)
	}
	if n := len(flood(modest)); n < 3 {
		t.Errorf("a job beside it gets %d", n)
	}
	if n := len(flood(stranger)); n < 1 {
		t.Errorf("a job of another namespace gets %d", n)
	}
	if n := len(flood(greedy)); n > 0 {
		t.Errorf("the greedy one gets %d of what is for others", n)
	}
	// Registering anew makes no new share.
	r.Release(greedy)
	again := r.Acquire(upstream.Target{Address: address, Instance: "again", Namespace: "a", Job: "greedy"})
	t.Cleanup(func() { r.Acquire(greedy.Target()); r.Release(again) })
	if n := len(flood(again)); n > 0 {
		t.Errorf("the greedy one gets %d when it is registered anew", n)
	}
}

// TestOneClientTakesNotAll: a client that holds connections to all services leaves some of
// each for others.
func TestOneClientTakesNotAll(t *testing.T) {
	const most, size = 128, 112
	s := upstream.NewConnShares(most)
	jobs := []upstream.ConnJob{s.Join("a", "1"), s.Join("a", "2"), s.Join("b", "3")}
	greedy, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")
	of := func(client netip.Addr) (n int) {
		for failed := 0; failed < len(jobs); {
			failed = 0
			for _, j := range jobs {
				if _, ok := s.Take(j, client); ok {
					n++
				} else {
					failed++
				}
			}
		}
		return n
	}
	if h, ok := s.Take(jobs[0], other); !ok {
		t.Fatal("nothing for the first one")
	} else {
		defer s.Give(h)
	}
	if n := of(greedy); n < size/4*3 {
		t.Errorf("the greedy client gets %d of %d", n, size)
	}
	if n := of(greedy.Next()); n > 0 { // of the same /64
		t.Errorf("it gets %d more for another address", n)
	}
	for _, j := range jobs {
		if _, ok := s.Take(j, other); !ok {
			t.Error("another client gets nothing")
		}
	}
}

// TestConnSharesModel: whatever jobs take, give back, come and go, no more is taken than
// there is, one that has nothing gets something beside a greedy one, and at the end
// nothing is left over.
func TestConnSharesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(64, 512).Draw(t, "most")
		size := most - most/8
		s := upstream.NewConnShares(most)
		type member struct {
			name string
			job  upstream.ConnJob
			has  []upstream.ConnHolder
		}
		var members []*member // also those that have left and still hold something
		var probes []upstream.ConnHolder
		taken := 0
		clients := []netip.Addr{{}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")}
		join := func(namespace, job string) *member {
			m := &member{name: namespace + "/" + job, job: s.Join(namespace, job)}
			members = append(members, m)
			return m
		}
		pick := func(t *rapid.T) *member {
			return members[rapid.IntRange(0, len(members)-1).Draw(t, "member")]
		}
		left := make(map[*member]bool)
		join("a", "0")
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				if len(members) < 40 {
					join(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "namespace"), fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "job")))
				}
			},
			"leave": func(t *rapid.T) {
				if m := pick(t); !left[m] {
					left[m] = true
					s.Leave(m.job)
				}
			},
			"take": func(t *rapid.T) {
				m := pick(t)
				for range rapid.IntRange(1, size).Draw(t, "n") {
					h, ok := s.Take(m.job, rapid.SampledFrom(clients).Draw(t, "client"))
					if !ok {
						break
					}
					m.has = append(m.has, h)
					taken++
				}
			},
			"give": func(t *rapid.T) {
				m := pick(t)
				for n := rapid.IntRange(0, len(m.has)).Draw(t, "n"); n > 0; n-- {
					s.Give(m.has[0])
					m.has = m.has[1:]
					taken--
				}
			},
			"probe": func(*rapid.T) {
				if h, ok := s.Probe(); ok {
					probes = append(probes, h)
				}
			},
			"settle": func(*rapid.T) { s.Settle() },
			"": func(t *rapid.T) {
				if taken > size || taken+len(probes) > most {
					t.Fatalf("%d of %d are taken", taken, size)
				}
				if n := s.Taken(); n[0] != int64(taken+len(probes)) || n[1] != n[0] || n[2] != n[0] || n[3] != n[0] {
					t.Fatalf("counted are %v, taken %d", n, taken+len(probes))
				}
			},
		})
		for _, h := range probes {
			s.Give(h)
		}
		for _, m := range members {
			for _, h := range m.has {
				s.Give(h)
			}
			if !left[m] {
				s.Leave(m.job)
			}
		}
		s.Settle()
		if n, holders := s.Taken(), s.Holders(); n != [4]int64{} || holders != [3]int{} {
			t.Fatalf("left over: %v taken, %v holders", n, holders)
		}
		greedy, modest, stranger := s.Join("a", "greedy"), s.Join("a", "modest"), s.Join("b", "stranger")
		take := func(j upstream.ConnJob, client netip.Addr) bool {
			_, ok := s.Take(j, client)
			return ok
		}
		for take(greedy, clients[1]) {
		}
		if !take(modest, clients[2]) || !take(stranger, netip.Addr{}) {
			t.Fatal("one that has nothing gets nothing beside a greedy one")
		}
	})
}
