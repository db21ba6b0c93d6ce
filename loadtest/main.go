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
	}
	parsed := kong.Parse(&c, kong.Name("loadtest"), kong.Description("Measures serai from outside."))
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}
