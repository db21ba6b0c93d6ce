package acme_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"serai/tls/acme"
	"serai/tls/certstore"
)

// restless is a store that answers each list at once, at a higher index, as Nomad may when other
// variables change all the time.
type restless struct {
	*memory
	asked, requests atomic.Int64
}

func (r *restless) List(ctx context.Context, below string, _ uint64) ([]certstore.Entry, uint64, error) {
	if below == "requests" {
		r.requests.Add(1)
	}
	list, err := r.memory.ListNewest(ctx, below)
	return list, uint64(r.asked.Add(1)), err
}

// TestStoreIsNotListedAllTheTime where each list is answered at once: neither that of the
// certificates nor, by the leader, that of requests for renewals.
func TestStoreIsNotListedAllTheTime(t *testing.T) {
	t.Parallel()
	store := &restless{memory: newMemory()}
	began := time.Now()
	mirror(t, acme.Options{
		Store: store, Email: "a@example.org", HTTPAddress: "127.0.0.1:1", TicketLife: -1,
		Hosts: func() []acme.Host { return nil }, Wants: func(string) bool { return false },
	})
	until(t, "both lists", func() bool { return store.requests.Load() > 10 && store.asked.Load()-store.requests.Load() > 10 })
	time.Sleep(2 * time.Second)
	if n, most := store.asked.Load(), 44+10*int64(time.Since(began)/time.Second+1); n > most {
		t.Errorf("%d lists in %v, want at most %d", n, time.Since(began), most)
	}
}
