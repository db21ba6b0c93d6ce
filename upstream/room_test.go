package upstream_test

import (
	"testing"
	"time"

	"serai/upstream"
)

func TestWaitEndsWhenAMemberBecomesReady(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	address := free(t)
	e := r.Acquire(upstream.Target{Address: address, Instance: "a"})
	defer r.Release(e)
	p := upstream.NewPool([]upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, r.NewRoom())
	r.Publish(p)
	if m := p.Pick(time.Now(), anyone(0), &upstream.Tried{}, false); m != nil {
		t.Fatal("a member that nobody listens for was picked")
	}
	got := make(chan *upstream.Pool, 1)
	go func() {
		pool, err := p.Room().Wait(long, 0, nil)
		if err != nil {
			t.Error(err)
		}
		got <- pool
	}()
	await(t, "waiter", func() bool { return p.Room().Waiting() == 1 })
	listen(t, address)
	if pool := <-got; pool.Pick(time.Now(), anyone(0), &upstream.Tried{}, false) == nil {
		t.Error("woken without a member to pick")
	}
}

// TestWaitOutlivesThePool redeploys a service of one instance: its only member
// goes, and the next pool's member, on another address, takes the request.
func TestWaitOutlivesThePool(t *testing.T) {
	r := run(t, upstream.RegistryOptions{})
	room := r.NewRoom()
	empty := upstream.NewPool(nil, upstream.PoolOptions{}, room)
	r.Publish(empty)
	got := make(chan *upstream.Pool, 1)
	go func() {
		pool, err := empty.Room().Wait(long, 0, nil)
		if err != nil {
			t.Error(err)
		}
		got <- pool
	}()
	await(t, "waiter", func() bool { return room.Waiting() == 1 })
	e := r.Acquire(upstream.Target{Address: listen(t, "127.0.0.1:0").Addr().String(), Instance: "b"})
	defer r.Release(e)
	next := upstream.NewPool([]upstream.Member{{Endpoint: e, Weight: 100}}, upstream.PoolOptions{}, room)
	r.Publish(next)
	if pool := <-got; pool != next {
		t.Error("the waiter was not given the current pool")
	}
}

func TestWaitEndsForOtherReasons(t *testing.T) {
	r := run(t, upstream.RegistryOptions{MaxWaiting: 1})
	room := r.NewRoom()
	r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
	if _, err := room.Wait(time.Millisecond, 0, nil); err != upstream.ErrWaitTimeout {
		t.Errorf("wait without an instance: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	if _, err := room.Wait(0, 0, nil); err != upstream.ErrWaitTimeout {
		t.Errorf("wait of no time: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	gone := make(chan struct{})
	left := make(chan error, 1)
	go func() {
		_, err := room.Wait(long, 0, gone)
		left <- err
	}()
	await(t, "waiter", func() bool { return room.Waiting() == 1 })
	if _, err := room.Wait(long, 0, nil); err != upstream.ErrRoomFull {
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

// TestWaitingBytesAreBounded: over all rooms, and given back at the end of a
// wait.
func TestWaitingBytesAreBounded(t *testing.T) {
	r := run(t, upstream.RegistryOptions{MaxWaitingBytes: 100})
	one, other := r.NewRoom(), r.NewRoom()
	for _, room := range []*upstream.Room{one, other} {
		r.Publish(upstream.NewPool(nil, upstream.PoolOptions{}, room))
	}
	gone := make(chan struct{})
	left := make(chan error, 1)
	go func() {
		_, err := one.Wait(long, 60, gone)
		left <- err
	}()
	await(t, "waiter", func() bool { return one.Waiting() == 1 })
	if _, err := other.Wait(long, 41, nil); err != upstream.ErrRoomFull {
		t.Errorf("wait with too many bytes: %v, want %v", err, upstream.ErrRoomFull)
	}
	if _, err := other.Wait(time.Millisecond, 40, nil); err != upstream.ErrWaitTimeout {
		t.Errorf("wait with all bytes: %v, want %v", err, upstream.ErrWaitTimeout)
	}
	close(gone)
	<-left
	if _, err := other.Wait(time.Millisecond, 100, nil); err != upstream.ErrWaitTimeout {
		t.Errorf("wait after the others have left: %v, want %v", err, upstream.ErrWaitTimeout)
	}
}
