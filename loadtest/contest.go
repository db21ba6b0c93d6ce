package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"serai/claims"
	"serai/nomad"
	"serai/router"
)

// keeper is the part of a serai that decides who holds contested claims.
type keeper struct {
	*claims.Keeper
	latest atomic.Pointer[claims.Agreed]
}

// startKeepers starts one for each watcher, with a client of its own, and waits
// until all know the record.
func (f *flock) startKeepers(running *sync.WaitGroup, url string) error {
	before := f.sim.Counts().Requests[nomad.KindVariable]
	for range f.all {
		client, err := nomad.NewClient(nomad.Options{Address: url})
		if err != nil {
			return err
		}
		k := &keeper{}
		if k.Keeper, err = claims.New(claims.Options{Client: client, Path: "serai/claims/scale"}); err != nil {
			return err
		}
		f.keepers = append(f.keepers, k)
		running.Go(func() { k.Run(f.ctx) })
		running.Go(func() {
			for {
				select {
				case <-f.ctx.Done():
					return
				case a := <-k.Agreed():
					k.latest.Store(&a)
				}
			}
		})
	}
	if err := await(f, "the record of contests", f.keepers, func(k *keeper) bool { return k.latest.Load() != nil }); err != nil {
		return err
	}
	// Each has read it, and waits for its change; so does the whole serai, now
	// and then.
	if n, most := f.sim.Counts().Requests[nomad.KindVariable]-before, 2*len(f.keepers)+2; n > most {
		return fmt.Errorf("%d keepers made %d requests to start, more than %d", len(f.keepers), n, most)
	}
	return nil
}

// contest shows all of them the same contest at once, every second one in the other
// order: one writes it down, and the others follow.
func (f *flock) contest() error {
	const name = "contested.loadtest /"
	claimant := func(n int) router.Claimant {
		reg := f.registration(n, 0)
		c := router.Claimant{Job: reg.JobID, Instances: true}
		c.Namespace, c.Name = reg.Namespace, reg.ServiceName
		return c
	}
	for i, k := range f.keepers {
		seen := []router.Claimant{claimant(0), claimant(1)}
		if i%2 == 1 {
			slices.Reverse(seen)
		}
		k.See(claims.View{Contests: []router.Contest{{Name: name, Claimants: seen}}, Complete: true})
	}
	first := func(k *keeper) []router.Claimant { return k.latest.Load().Order[name] }
	if err := await(f, "an agreement", f.keepers, func(k *keeper) bool {
		order := first(k)
		return len(order) == 2 && slices.EqualFunc(order, first(f.keepers[0]), router.Claimant.Same)
	}); err != nil {
		return err
	}
	var tried, late uint64
	for _, k := range f.keepers {
		s := k.Status()
		tried, late = tried+s.Writes, late+s.Conflicts
	}
	fmt.Printf("%24s %d keepers agree on a contest: %d writes were tried, %d came too late\n", "", len(f.keepers), tried, late)
	if tried-late != 1 {
		return fmt.Errorf("%d writes of one contest were taken, want 1", tried-late)
	}
	return nil
}
