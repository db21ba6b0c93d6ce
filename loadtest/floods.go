package main

import (
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// floodLimit is the memory that serai has in the trial of all floods: what the
// job files in jobs/ ask for, in MiB.
const floodLimit = 128

// floods has strangers and tenants do at once all that takes memory, while others
// ask as usual, some of them an idle serai beside the one that is attacked: what these
// see is the machine's part, which attackers, clients and instances share.
func floods(a *arena) error {
	bystander, err := a.start("bystander", "ingress.host=bystander.loadtest")
	if err != nil {
		return err
	}
	defer bystander.kill()
	idle, err := startSerai(a.ctx, a.binary, a.nomad)
	if err != nil {
		return err
	}
	defer idle.stop()
	for _, n := range []*ingress{a.nodes[0], idle} {
		if err := n.await(a.ctx, "bystander.loadtest", "/"); err != nil {
			return err
		}
	}
	usual := ask{url: "http://" + a.address() + "/bytes/1000", host: "bystander.loadtest", conns: 16, rate: 300, lasts: 20 * time.Second}
	before, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	a.registerFloods()
	most, watched := a.watchMemory()
	stop, err := startHelper(a.ctx, "flood", a.address(), "--kinds="+strings.Join(a.options.Kinds, ","))
	if err != nil {
		return err
	}
	defer stop()
	usual.lasts = a.options.Floods
	posts := ask{url: "http://" + a.address() + "/echo", conns: 16, rate: 100, body: 20_000, lasts: usual.lasts}
	beside := usual
	beside.url = "http://" + idle.address + "/bytes/1000"
	asks := []ask{usual, beside, posts}
	all := make([]seen, len(asks))
	var asking errgroup.Group
	for i := range asks {
		asking.Go(func() (err error) { all[i], err = generate(a.ctx, asks[i]); return err })
	}
	if err := asking.Wait(); err != nil {
		return err
	}
	watched()
	during, machine, posted := all[0], all[1], all[2]
	a.see("300 requests a second: p99 %.0f us, p50 %.0f us; for %v beside all floods: p99 %.0f us, p50 %.0f us; at an idle serai meanwhile: p99 %.0f us, p50 %.0f us; failed %d of %d (%s), and of uploads of 20 kB %d of %d (%s); resident at most %.1f MiB",
		before.P99, before.P50, usual.lasts, during.P99, during.P50, machine.P99, machine.P50, during.Failed, during.Requests, during.Cause, posted.Failed, posted.Requests, posted.Cause, mib(*most))
	if failed := during.Failed + posted.Failed; failed > 0 {
		a.broken("%d requests of others failed: %s %s", failed, during.Cause, posted.Cause)
	}
	if usually := max(before.P99, machine.P99); during.P99 > 2*usually {
		a.broken("p99 of others is %.1f times as long as without floods, or at an idle serai", during.P99/usually)
	}
	return nil
}

// registerFloods registers what a tenant may: many large tags, many checks with
// large answers, and a service that never becomes ready.
func (a *arena) registerFloods() {
	a.registerLargeTags()
	a.registerLargeChecks()
	a.register(evil, "never", 0, "127.0.0.1", 9, "ingress.host=never.loadtest")
}
