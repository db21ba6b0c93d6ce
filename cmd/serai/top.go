package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"time"

	"serai/admin"
)

// topCommand is `serai top`.
type topCommand struct {
	asking
	Sort  string   `enum:"rate,errors,latency" default:"rate" help:"rate, errors or latency, the highest first." placeholder:"BY"`
	Limit int      `short:"n" default:"20" help:"How many routes." placeholder:"NUMBER"`
	Every duration `default:"2s" help:"How often it is printed."`
	Once  bool     `help:"Print it once."`
}

// Run prints the busiest routes again and again.
func (c *topCommand) Run(ctx context.Context, env *environment) error {
	terminal := widthOf(env.stdout) > 0
	for {
		var l admin.List[admin.RouteTraffic]
		q := url.Values{"sort": {c.Sort}, "limit": {fmt.Sprint(c.Limit)}}
		err := c.ask(ctx, env, "routes", q, &l, func(out io.Writer) error {
			if terminal && !c.Once {
				fmt.Fprint(out, "\x1b[H\x1b[2J")
			}
			fmt.Fprintf(out, "%s  %d routes, by %s\n", time.Now().Format(time.TimeOnly), l.Total, c.Sort)
			return routeTable(out, l.Items).print(out, "no route")
		})
		if err != nil || c.Once {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(c.Every.value(), 200*time.Millisecond)):
		}
	}
}
