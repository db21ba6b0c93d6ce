package oidc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"serai/policy/auth"
)

// client is one of many, each in a network of its own.
func client(n int) netip.Prefix {
	var a [16]byte
	a[0] = 0x20
	binary.BigEndian.PutUint32(a[2:], uint32(n))
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// TestSharedIsBounded: whatever comes, no more is remembered than the bounds say, and what
// was remembered last still is.
func TestSharedIsBounded(t *testing.T) {
	s, now := NewShared(), time.Now()
	for n := range 2 * s.limits.Revoked {
		s.revoke(fmt.Sprint("session", n), now, now.Add(time.Hour))
		if !s.isRevoked(fmt.Sprint("session", n), now) {
			t.Fatalf("session %d is forgotten at once", n)
		}
	}
	for n := range 2 * s.limits.Used {
		if !s.use(fmt.Sprint("state", n), now) || s.use(fmt.Sprint("state", n), now) {
			t.Fatalf("state %d counts more than once", n)
		}
	}
	for n := range 2 * s.limits.Renewals {
		key := fmt.Sprint("renewal", n)
		r, begin := s.renewal(key, now)
		if r == nil || !begin {
			t.Fatalf("renewal %d does not begin", n)
		}
		s.end(key, r, &session{}, &session{Refresh: "another"}, nil, 0)
	}
	for n := range 2 * s.limits.Clients {
		s.admit(client(n), now)
	}
	got := s.Status()
	if got.Revoked != s.limits.Revoked || got.Used != s.limits.Used || got.Renewals != s.limits.Renewals || len(s.clients) > s.limits.Clients || got.Displaced != uint64(s.limits.Revoked) {
		t.Errorf("there are %+v, and %d clients", got, len(s.clients))
	}
	if len(s.order) != len(s.renewals) || len(s.revoked.order) != s.revoked.len() || len(s.used.order) != s.used.len() {
		t.Error("an order has other elements than its set")
	}
	// All of it ends by itself.
	then := now.Add(2 * time.Hour)
	s.revoke("another", then, then.Add(time.Hour))
	s.use("another", then)
	if got := s.Status(); got.Revoked != 1 || got.Used != 1 {
		t.Errorf("after its time there are %+v", got)
	}
}

// TestRenewalsUnderWayStay: they are not displaced, so that nobody waits for ever.
func TestRenewalsUnderWayStay(t *testing.T) {
	s, now := NewShared(), time.Now()
	for n := range s.limits.Renewals {
		if _, begin := s.renewal(fmt.Sprint(n), now); !begin {
			t.Fatalf("renewal %d does not begin", n)
		}
	}
	if r, _ := s.renewal("more", now); r != nil {
		t.Error("there is one more than the bound")
	}
	r, begin := s.renewal("0", now)
	if begin {
		t.Fatal("a session is renewed twice at once")
	}
	s.end("0", r, &session{}, nil, errUnavailable, 0)
	if _, begin := s.renewal("0", now.Add(time.Second)); !begin {
		t.Error("a renewal that failed because the provider was away is not tried again")
	}
}

// TestAdmit: a client may do so many at once, and all together so many; afterwards as many
// a second.
func TestAdmit(t *testing.T) {
	s, now := NewShared(), time.Now()
	count := func(client netip.Prefix, tries int) (n int) {
		for range tries {
			if s.admit(client, now) {
				n++
			}
		}
		return n
	}
	if n := count(client(1), 1000); n != 100 {
		t.Errorf("one client is admitted %d times", n)
	}
	if n := count(client(2), 10); n != 10 {
		t.Errorf("another is admitted %d times", n)
	}
	total := 100 + 10
	for n := range 100 {
		total += count(client(10+n), 10)
	}
	if total != 500 {
		t.Errorf("all are admitted %d times", total)
	}
	now = now.Add(time.Second)
	if n := count(client(1), 1000); n != 10 {
		t.Errorf("a second later one client is admitted %d times", n)
	}
}

// TestOneNetworkLeavesHalf: a stranger with very many addresses of one network keeps nobody
// else from logging in.
func TestOneNetworkLeavesHalf(t *testing.T) {
	for name, stranger := range map[string]func(n int) netip.Prefix{
		"IPv6": func(n int) netip.Prefix {
			return netip.PrefixFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8:0:%x::", n)), 64)
		},
		"IPv4": func(n int) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}), 32) },
	} {
		s, now := NewShared(), time.Now()
		stolen, honest := 0, 0
		for second := range 20 {
			for n := range 10_000 {
				if s.admit(stranger(n%256), now) {
					stolen++
				}
			}
			for n := range 20 {
				if s.admit(client(n), now) {
					honest++
				}
			}
			now = now.Add(time.Second)
			if len(s.clients) > s.limits.Clients {
				t.Fatalf("%s: second %d: %d clients", name, second, len(s.clients))
			}
		}
		if honest != 400 || stolen < 1000 || stolen > 1300 {
			t.Errorf("%s: one network is admitted %d times, others %d of 400 times", name, stolen, honest)
		}
	}
}

// TestPlaces: one client has a quarter, all together no more than there are, and what is
// left is there again.
func TestPlaces(t *testing.T) {
	p := auth.NewPlaces(16, errBusy, errClientBusy)
	var all sync.WaitGroup
	var mu sync.Mutex
	var leave []func()
	refused := make(map[error]int)
	for n := range 400 {
		all.Go(func() {
			l, err := p.Enter(client(n % 8))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				refused[err]++
				return
			}
			leave = append(leave, l)
		})
	}
	all.Wait()
	if len(leave) != 16 || refused[errBusy]+refused[errClientBusy] != 400-16 {
		t.Errorf("%d have places, %v", len(leave), refused)
	}
	for _, l := range leave {
		l()
	}
	if taken, clients := p.Taken(); taken != 0 || clients != 0 {
		t.Errorf("%d are taken by %d clients", taken, clients)
	}
	for n := range 5 {
		if _, err := p.Enter(client(1)); (err != nil) != (n == 4) || err != nil && !errors.Is(err, errClientBusy) {
			t.Errorf("place %d of one client: %v", n, err)
		}
	}
}
