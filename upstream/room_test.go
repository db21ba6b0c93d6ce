package upstream_test

import (
	"testing"
	"time"

	"serai/upstream"
)

// request is one that waits.
func request(holds int64, gone <-chan struct{}) upstream.WaitingRequest {
	return upstream.WaitingRequest{Attributes: anyone(0), Tried: &upstream.Tried{}, Holds: holds, Gone: gone}
}

func TestWaitEndsWhenAMemberBecomesReady(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	address := free(t)
	e := r.Acquire(upstream.Target{Address: address, Instance: "a"})
	defer r.Release(e)
	p := upstream.NewPool([]*upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, r.NewRoom(""))
	r.Publish(p)
	if m := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false); m != nil {
		t.Fatal("a member that nobody listens for was picked")
	}
	got := make(chan *upstream.Member, 1)
	go func() {
		m, err := p.Room().Wait(long, request(0, nil))
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	await(t, "waiter", func() bool { return p.Room().Waiting() == 1 })
	listen(t, address)
	if m := <-got; m == nil || m.Endpoint != e || e.Inflight() != 1 {
		t.Errorf("the wait ended with %+v, %d in flight", m, e.Inflight())
	}
}

// TestWaitOutlivesThePool redeploys a service of one instance: its only member goes,
// and the next pool's member, on another address, takes the request.
func TestWaitOutlivesThePool(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	room := r.NewRoom("")
	empty := upstream.NewPool(nil, upstream.PoolOptions{}, room)
	r.Publish(empty)
	got := make(chan *upstream.Member, 1)
	go func() {
		m, err := empty.Room().Wait(long, request(0, nil))
		if err != nil {
			t.Error(err)
		}
		got <- m
	}()
	await(t, "waiter", func() bool { return room.Waiting() == 1 })
	e := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "b"})
	defer r.Release(e)
	next := upstream.NewPool([]*upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, room)
	r.Publish(next)
	if m := <-got; m != next.Members()[0] || e.Inflight() != 1 {
		t.Errorf("the waiter was given %+v, %d in flight, want the current pool's member", m, e.Inflight())
	}
}

func TestWaitEndsForOtherReasons(t *testing.T) {
	r := run(t, upstream.RegistryOptions{MaxWaiting: 1})
	room := r.NewRoom("")
	r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
	if _, err := room.Wait(time.Millisecond, request(0, nil)); err != upstream.ErrWaitTimeout {
		t.Errorf("wait without an instance: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	if _, err := room.Wait(0, request(0, nil)); err != upstream.ErrWaitTimeout {
		t.Errorf("wait of no time: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	gone := make(chan struct{})
	left := make(chan error, 1)
	go func() {
		_, err := room.Wait(long, request(0, gone))
		left <- err
	}()
	await(t, "waiter", func() bool { return room.Waiting() == 1 })
	if _, err := room.Wait(long, request(0, nil)); err != upstream.ErrRoomFull {
		t.Errorf("wait in a full room: %v, want %v", err, upstream.ErrRoomFull)
	}
	close(gone)
	if err := <-left; err != upstream.ErrClientGone {
		t.Errorf("wait of a client that left: %v, want %v", err, upstream.ErrClientGone)
	}
	if n := room.Waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
}

// TestWaitingBytesAreBounded: over all rooms, and given back at the end of a wait.
func TestWaitingBytesAreBounded(t *testing.T) {
	r := run(t, upstream.RegistryOptions{MaxWaitingBytes: 100})
	one, other := r.NewRoom("a"), r.NewRoom("b")
	for _, room := range []*upstream.Room{one, other} {
		r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
	}
	gone := make(chan struct{})
	left := make(chan error, 1)
	go func() {
		_, err := one.Wait(long, request(45, gone))
		left <- err
	}()
	await(t, "waiter", func() bool { return one.Waiting() == 1 })
	if _, err := other.Wait(long, request(56, nil)); err != upstream.ErrRoomFull {
		t.Errorf("wait with too many bytes: %v, want %v", err, upstream.ErrRoomFull)
	}
	if _, err := other.Wait(time.Millisecond, request(55, nil)); err != upstream.ErrWaitTimeout {
		t.Errorf("wait with all bytes: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	close(gone)
	<-left
	if _, err := other.Wait(time.Millisecond, request(100, nil)); err != upstream.ErrWaitTimeout {
		t.Errorf("wait after the others have left: %v, want %v", err, upstream.ErrWaitTimeout)
	}
}

// TestRoomsDisplaceWhoHasMore: the requests of one route use the whole limit, and a
// request of another route, or of another namespace, takes the place of the newest one.
func TestRoomsDisplaceWhoHasMore(t *testing.T) {
	for _, namespace := range []string{"greedy", "modest"} {
		r := run(t, upstream.RegistryOptions{MaxWaitingBytes: 100})
		greedy, modest := r.NewRoom("greedy"), r.NewRoom(namespace)
		for _, room := range []*upstream.Room{greedy, modest} {
			r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
		}
		gone, ends := make(chan struct{}), make(chan error, 10)
		for i := range cap(ends) {
			go func() {
				_, err := greedy.Wait(long, request(10, gone))
				ends <- err
			}()
			await(t, "waiter", func() bool { return greedy.Waiting() == i+1 })
		}
		if _, err := greedy.Wait(long, request(10, nil)); err != upstream.ErrRoomFull {
			t.Errorf("one more: %v, want %v", err, upstream.ErrRoomFull)
		}
		if _, err := modest.Wait(time.Millisecond, request(20, nil)); err != upstream.ErrWaitTimeout {
			t.Errorf("one of another route, in namespace %s: %v, want %v", namespace, err, upstream.ErrWaitTimeout)
		}
		for range 2 {
			if err := <-ends; err != upstream.ErrRoomFull {
				t.Errorf("who came last of those that have more: %v, want %v", err, upstream.ErrRoomFull)
			}
		}
		if s := r.Waiting(); s.Requests != 8 || s.Bytes != 80 || s.Displaced != 2 {
			t.Errorf("waiting: %+v", s)
		}
		close(gone)
		for range 8 {
			if err := <-ends; err != upstream.ErrClientGone {
				t.Errorf("the others: %v, want %v", err, upstream.ErrClientGone)
			}
		}
	}
}

// TestWaitsEndWithTheProcess: all waits end, in all rooms, and none begins any more; who finds a
// place gets it.
func TestWaitsEndWithTheProcess(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	one, other := r.NewRoom("a"), r.NewRoom("b")
	ends := make(chan error, 4)
	for _, room := range []*upstream.Room{one, one, other} {
		r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
		go func() {
			_, err := room.Wait(long, request(1, nil))
			ends <- err
		}()
	}
	await(t, "waiters", func() bool { return r.Waiting().Requests == 3 })
	r.EndWaits()
	for range 3 {
		if err := <-ends; err != upstream.ErrStopping {
			t.Errorf("a wait ended with %v, want %v", err, upstream.ErrStopping)
		}
	}
	if _, err := one.Wait(long, request(1, nil)); err != upstream.ErrStopping {
		t.Errorf("a later wait: %v, want %v", err, upstream.ErrStopping)
	}
	if n := r.Waiting(); n.Requests != 0 || n.Bytes != 0 {
		t.Errorf("there are still %+v", n)
	}
	e := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "a"})
	defer r.Release(e)
	p := upstream.NewPool([]*upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, other)
	r.Publish(p)
	await(t, "the instance", func() bool {
		m, err := other.Wait(long, request(1, nil))
		return err == nil && m.Endpoint == e
	})
}
