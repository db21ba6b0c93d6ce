// Package chaos answers: which fault has nobody thought of?
//
// From a seed it draws a program: services and their tags, clients and their requests,
// instances and their answers, and what fails at which moment. It runs the program against
// serai, which is a process that it treats as a black box, and compares what clients and
// instances have seen with what is promised. It does not know the outcome in advance: each
// byte shows by itself whose it is, and each failure must be one that the program allows.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what is run.
type Options struct {
	Binary string // serai
	// Seed of the first episode. 0 draws one.
	Seed uint64
	// Time is how long new episodes are started, 0 for one episode only.
	Time time.Duration
	// AtOnce is how many episodes run at once.
	AtOnce int
	// Without are names of parts that are left out.
	Without []string
	// Show prints the program before it is run. Shrink shortens a failing one.
	Show, Shrink bool
	// Keys are the keys of the tag grammar that are drawn.
	Keys []Key
	Out  io.Writer
}

// errBroken means that findings were printed.
var errBroken = errors.New("promises were broken")

// Run runs episodes and prints the promises they broke. Its error is not nil if there
// were any.
func Run(ctx context.Context, o Options) error {
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1e12) + 1
	}
	prepare := func(p *Program, c *cluster, certificates string) (proxy, error) {
		return newProcess(o.Binary, p, c, certificates)
	}
	t := &trial{Options: o, prepare: prepare, began: time.Now(), broken: make(map[string]*broken)}
	fmt.Fprintf(o.Out, "seed %d\n", o.Seed)
	if o.Time == 0 {
		t.AtOnce = 1
		t.try(ctx, o.Seed)
	} else {
		t.series(ctx)
	}
	return t.report(ctx)
}

// trial is a series of episodes.
type trial struct {
	Options
	prepare maker

	mu       sync.Mutex
	episodes int
	requests int
	began    time.Time
	broken   map[string]*broken // by oracle
	failed   []uint64
}

// broken is a promise that was broken: in how many episodes, and when first.
type broken struct {
	episodes int
	first    time.Duration
	seed     uint64
}

// seedOf is the seed of the nth episode of a series.
func (t *trial) seedOf(n int) uint64 {
	if n == 0 {
		return t.Seed
	}
	return newDice(t.Seed+uint64(n)).Uint64N(1e12) + 1
}

// series runs episodes until the time is over.
func (t *trial) series(ctx context.Context) {
	end := time.Now().Add(t.Time)
	next := 0
	var running sync.WaitGroup
	for range max(1, t.AtOnce) {
		running.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				t.mu.Lock()
				n := next
				next++
				t.mu.Unlock()
				t.try(ctx, t.seedOf(n))
			}
		})
	}
	running.Wait()
}

// try runs the episode of a seed.
func (t *trial) try(ctx context.Context, seed uint64) {
	whole := Draw(seed, t.Keys)
	p := whole.without(t.Without)
	if t.Show {
		fmt.Fprintf(t.Out, "%s", p)
	}
	began := time.Now()
	found, said, err := play(ctx, p, t.prepare)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	t.episodes++
	for _, c := range p.Clients {
		t.requests += len(c.Requests)
	}
	if err != nil {
		found = append(found, Finding{Oracle: "the trial itself", Text: err.Error()})
	}
	if len(found) == 0 {
		return
	}
	t.failed = append(t.failed, seed)
	fmt.Fprintf(t.Out, "\nepisode %d broke promises (after %.1f s; %s)\n", seed, time.Since(began).Seconds(), command(seed, t.Without))
	oracles := make(map[string]int)
	for _, f := range found {
		if oracles[f.Oracle]++; oracles[f.Oracle] <= 4 {
			fmt.Fprintf(t.Out, "  %s\n", f)
		}
	}
	for oracle, n := range oracles {
		if t.broken[oracle] == nil {
			t.broken[oracle] = &broken{first: time.Since(t.began), seed: seed}
		}
		t.broken[oracle].episodes++
		if n > 4 {
			fmt.Fprintf(t.Out, "  %s: %d more\n", oracle, n-4)
		}
	}
	if said != "" && oracles["the process lives"]+oracles["the trial itself"] > 0 {
		fmt.Fprintf(t.Out, "  serai said: %s\n", firstLines(said))
	}
	if t.Shrink {
		t.shrink(ctx, whole, found[0].Oracle)
	}
}

// shrink prints the smallest program that is found to break the same promise.
func (t *trial) shrink(ctx context.Context, p *Program, oracle string) {
	fmt.Fprintf(t.Out, "  shrinking, for %q\n", oracle)
	start := p.without(t.Without)
	gone := shrink(ctx, start, oracle, 5*time.Minute, t.prepare, func(format string, args ...any) {
		fmt.Fprintf(t.Out, "  "+format+"\n", args...)
	})
	gone = slices.Concat(t.Without, gone)
	fmt.Fprintf(t.Out, "  smallest: %s\n%s", command(p.Seed, gone), indent(p.without(gone).String()))
}

// command repeats an episode.
func command(seed uint64, without []string) string {
	c := fmt.Sprintf("go run ./loadtest chaos --seed=%d", seed)
	if len(without) > 0 {
		c += " --without=" + strings.Join(without, ",")
	}
	return c
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n    ") + "\n"
}

// report prints the sums.
func (t *trial) report(ctx context.Context) error {
	fmt.Fprintf(t.Out, "\n%d episodes, %d requests, %d episodes broke promises\n", t.episodes, t.requests, len(t.failed))
	oracles := make([]string, 0, len(t.broken))
	for oracle := range t.broken {
		oracles = append(oracles, oracle)
	}
	slices.Sort(oracles)
	for _, oracle := range oracles {
		b := t.broken[oracle]
		fmt.Fprintf(t.Out, "  %4d  %s, first after %.0f s with seed %d\n", b.episodes, oracle, b.first.Seconds(), b.seed)
	}
	if len(t.failed) > 0 {
		return errBroken
	}
	return ctx.Err()
}
