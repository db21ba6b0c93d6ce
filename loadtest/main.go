// Command loadtest shows whether serai keeps its word. It starts what it needs
// on the loopback, measures from outside, and ends by itself.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c struct {
		Discovery discoveryCommand `cmd:"" help:"Time from a registration to the first 200, and from a deregistration to the last request."`
		Faults    faultsCommand    `cmd:"" help:"Deploys, kills, hangs and outages under a constant load: how many requests fail, and why."`
		Stress    stressCommand    `cmd:"" help:"Endless bodies, slow clients by the thousand, too few descriptors, an hour of mixed load: what breaks, and what is left over."`
		Attacks   attacksCommand   `cmd:"" help:"What strangers and tenants have done to serai, one after the other beside a bystander, as the table of docs/security.md."`
		Scale     scaleCommand     `cmd:"" help:"What many serai ask of Nomad's servers, and how soon they agree."`
		Chaos     chaosCommand     `cmd:"" help:"Random programs from a seed: tags, clients, instances and faults of every kind, and what they break."`
		Compare   compareCommand   `cmd:"" help:"serai beside nginx, HAProxy, Caddy, Traefik and Fabio, whichever are on PATH: CPU per request, throughput, latency, memory."`
		Origin    originCommand    `cmd:"" hidden:"" help:"The origin of compare."`
		Generate  generateCommand  `cmd:"" help:"One generator of load, which prints what it saw as JSON."`
		Strand    strandCommand    `cmd:"" hidden:"" help:"Clients that vanish, for faults."`
		Loris     lorisCommand     `cmd:"" hidden:"" help:"Clients that send heads byte by byte, for stress."`
		Flood     floodCommand     `cmd:"" hidden:"" help:"Clients that take memory, for stress."`
		Misfit    misfitCommand    `cmd:"" hidden:"" help:"An instance that fails its requests, for faults."`
	}
	parsed := kong.Parse(&c, kong.Name("loadtest"), kong.Description("Measures serai from outside."))
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}
