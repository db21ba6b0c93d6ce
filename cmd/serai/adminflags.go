package main

import (
	"fmt"

	"serai/internal/history"
)

// adminFlags are about what the admin address serves, and to whom.
type adminFlags struct {
	MaxEvents    int `name:"max-events" default:"1000" help:"Decisions (routes that come and go, ejections, refusals, certificates and the like) that are remembered for /api/v1/events. The namespace that has most of them forgets first." group:"Limits"`
	MaxFollowers int `default:"16" help:"Pages of the dashboard and commands that follow what changes (server-sent events) at once, at most half of the admin's connections; 503 beyond." group:"Limits"`
}

func (f *adminFlags) validate() error {
	if f.MaxEvents < 1 || f.MaxEvents > history.MaxSize {
		return fmt.Errorf("--max-events=%d is not between 1 and %d", f.MaxEvents, history.MaxSize)
	}
	if f.MaxFollowers < 1 {
		return fmt.Errorf("--max-followers=%d is not at least 1", f.MaxFollowers)
	}
	return nil
}
