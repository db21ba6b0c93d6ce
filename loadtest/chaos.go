package main

import (
	"context"
	"os"
	"time"

	"serai/loadtest/chaos"
	"serai/router"
)

// chaosCommand runs programs that are drawn from a seed, of everything that services,
// clients, instances and Nomad may do.
type chaosCommand struct {
	Binary  string        `help:"serai; built when empty." placeholder:"PATH"`
	Seed    uint64        `help:"Seed of the first episode. Without --time that one alone is run." placeholder:"N"`
	Time    time.Duration `help:"How long episodes follow each other; a minute when neither this nor a seed is given."`
	AtOnce  int           `default:"2" help:"Episodes at once."`
	Without []string      `help:"Parts of the program that are left out, by their names: services s1, their tags s1.t2, clients c3, their requests c3.r1, faults f1." placeholder:"NAME,..."`
	Show    bool          `help:"Print the program of each episode."`
	Shrink  bool          `help:"Shorten the program of a failing episode as far as it still fails, for up to five minutes."`
}

// Run runs episodes, and fails when one broke a promise.
func (c *chaosCommand) Run(ctx context.Context) error {
	raiseLimit()
	remove, err := needSerai(ctx, &c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	if c.Seed == 0 && c.Time == 0 {
		c.Time = time.Minute
	}
	var keys []chaos.Key
	for _, k := range router.Keys() {
		keys = append(keys, chaos.Key{Name: k.Name, Example: k.Example})
	}
	return chaos.Run(ctx, chaos.Options{Binary: c.Binary, Seed: c.Seed, Time: c.Time, AtOnce: c.AtOnce, Without: c.Without,
		Show: c.Show, Shrink: c.Shrink, Keys: keys, Out: os.Stdout})
}
