package upstream_test

import (
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serai/upstream"
)

// places makes endpoints that are ready without a probe, and a room with a pool of
// them, each with a limit.
func places(r *upstream.Registry, n, limit int) ([]*upstream.Endpoint, *upstream.Pool) {
	var endpoints []*upstream.Endpoint
	members := make([]*upstream.Member, n)
	for i := range members {
		e := r.Acquire(upstream.Target{Instance: strconv.Itoa(i)})
		upstream.SetState(e, upstream.Ready)
		endpoints = append(endpoints, e)
		members[i] = &upstream.Member{Endpoint: e, ID: strconv.Itoa(i), Weight: 100, MaxInflight: limit}
	}
	p := upstream.NewPool(members, upstream.PoolOptions{}, r.NewRoom(""))
	r.Publish(p)
	return endpoints, p
}

// obtain gets a place as the proxy does.
func obtain(p *upstream.Pool, d time.Duration, q upstream.WaitingRequest) (*upstream.Member, error) {
	if m := p.Pick(time.Now(), q.Attributes, q.Tried, q.Again); m != nil {
		return m, nil
	}
	return p.Room().Wait(d, q)
}

// TestSixForOnePlace: each request gets the place as soon as the one before has ended.
func TestSixForOnePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := upstream.NewRegistry(upstream.RegistryOptions{})
		_, p := places(r, 1, 1)
		began := time.Now()
		for range 6 {
			go func() {
				m, err := obtain(p, 5*time.Second, request(0, nil))
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(250 * time.Millisecond)
				p.End(time.Now(), m, good)
			}()
		}
		synctest.Wait()
		if n := p.Room().Waiting(); n != 5 {
			t.Errorf("%d wait, want 5", n)
		}
		for p.Room().Waiting() > 0 || p.Members()[0].Endpoint.Inflight() > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(began); took > 1510*time.Millisecond {
			t.Errorf("six requests of 250 ms took %v", took)
		}
	})
}

// TestTheLastStableOneGoes: a request that was not drawn for the canary waits until
// there is only the canary, and then until it has a place.
func TestTheLastStableOneGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := upstream.NewRegistry(upstream.RegistryOptions{})
		endpoints, other := places(r, 2, 1)
		members := append([]*upstream.Member{}, other.Members()...)
		members[1].Canary = &upstream.Canary{Percent: 1e-12}
		p := upstream.NewPool(members, upstream.PoolOptions{}, r.NewRoom(""))
		r.Publish(p)
		if m, err := obtain(p, time.Second, request(0, nil)); err != nil || m.ID != "0" {
			t.Fatalf("got %+v, %v", m, err)
		}
		got := make(chan *upstream.Member, 1)
		go func() {
			m, _ := obtain(p, time.Hour, request(0, nil))
			got <- m
		}()
		synctest.Wait()
		// The canary's place is offered in vain, and another route takes it.
		upstream.SetState(endpoints[1], upstream.Ejected)
		upstream.SetState(endpoints[1], upstream.Ready)
		first, err := obtain(other, time.Second, request(0, nil))
		if err != nil || first.ID != "1" || p.Room().Waiting() != 1 {
			t.Fatalf("got %+v, %v; %d wait", first, err, p.Room().Waiting())
		}
		upstream.SetState(endpoints[0], upstream.Probing)
		synctest.Wait()
		if len(got) > 0 {
			t.Fatalf("got %+v beyond the limit", <-got)
		}
		other.End(time.Now(), first, good)
		if m := <-got; m == nil || m.ID != "1" {
			t.Errorf("with the stable one gone, got %+v", m)
		}
	})
}

// TestOnePlaceForMany: many requests look for one place at once.
func TestOnePlaceForMany(t *testing.T) {
	r := upstream.NewRegistry(upstream.RegistryOptions{})
	_, p := places(r, 2, 1)
	for range 2000 {
		var start atomic.Int64
		var got [4]*upstream.Member
		var all sync.WaitGroup
		for i := range got {
			all.Go(func() {
				for start.Add(1); start.Load() < int64(len(got)); {
					runtime.Gosched()
				}
				got[i] = p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false)
			})
		}
		all.Wait()
		for i := range p.Members() {
			if n := p.Members()[i].Endpoint.Inflight(); n != 1 {
				t.Fatalf("%d requests in flight, want 1", n)
			}
		}
		for _, m := range got {
			if m != nil {
				p.End(time.Now(), m, good)
			}
		}
	}
}

// TestCrowd: many requests take places, wait, leave and end at once, in two rooms that
// share their instances, while instances come and go and pools are published: no limit
// is exceeded, and nothing is left over.
func TestCrowd(t *testing.T) {
	const limit, clients, rounds = 2, 24, 200
	r := upstream.NewRegistry(upstream.RegistryOptions{MaxWaiting: clients})
	endpoints, one := places(r, 3, limit)
	two := upstream.NewPool(one.Members(), upstream.PoolOptions{Balance: upstream.Balance{Method: upstream.RoundRobin}}, r.NewRoom(""))
	r.Publish(two)
	pools := []*upstream.Pool{one, two}
	var inflight [3]atomic.Int64
	var served, late, left atomic.Int64
	var all, others sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			p := pools[c%2]
			for i := range rounds {
				gone := make(chan struct{})
				leaves := time.AfterFunc(time.Duration(rand.IntN(4000))*time.Microsecond, func() { close(gone) })
				m, err := obtain(p, time.Duration(rand.IntN(8000))*time.Microsecond, request(1, gone))
				leaves.Stop()
				switch err {
				case nil:
				case upstream.ErrWaitTimeout:
					late.Add(1)
					continue
				case upstream.ErrClientGone:
					left.Add(1)
					continue
				default:
					t.Errorf("wait: %v", err)
					return
				}
				served.Add(1)
				n, _ := strconv.Atoi(m.ID)
				if got := inflight[n].Add(1); got > limit {
					t.Errorf("%d requests on %s, want at most %d", got, m.ID, limit)
				}
				if i%4 == 0 {
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
				}
				inflight[n].Add(-1)
				p.End(time.Now(), m, good)
			}
		})
	}
	ended := make(chan struct{})
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Microsecond):
			}
			switch i % 4 {
			case 0:
				upstream.SetState(endpoints[i/4%3], upstream.Probing)
			case 2:
				upstream.SetState(endpoints[i/4%3], upstream.Ready)
			default:
				p := pools[i/2%2]
				r.Publish(upstream.NewPool(p.Members(), p.Options(), p.Room()))
			}
		}
	})
	all.Wait()
	close(ended)
	others.Wait()
	t.Logf("%d served, %d late, %d left", served.Load(), late.Load(), left.Load())
	for i, e := range endpoints {
		if n := e.Inflight(); n != 0 {
			t.Errorf("%d requests in flight on %d at the end", n, i)
		}
	}
	if held, wishes := upstream.LeftOver(r, endpoints); held != 0 || wishes != 0 || one.Room().Waiting()+two.Room().Waiting() != 0 {
		t.Errorf("left over: %d bytes, %d wishes", held, wishes)
	}
	if served.Load() == 0 {
		t.Error("nobody was served")
	}
}
