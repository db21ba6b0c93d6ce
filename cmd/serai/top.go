package main

import (
	"context"
	"errors"
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
	Every duration `default:"2s" help:"Time between two prints."`
	Once  bool     `help:"Print once and exit."`
}

// Run prints the busiest routes again and again. A serai that has answered once may be away for
// a while: it is asked again.
func (c *topCommand) Run(ctx context.Context, env *environment) error {
	clears := widthOf(env.stdout) > 0 && env.getenv("TERM") != "dumb" && !c.Once && !c.JSON
	for begun := false; ; {
		limit := c.Limit
		if rows := heightOf(env.stdout); clears && rows > 0 {
			limit = max(1, min(limit, rows-3)) // two lines above, and the cursor
		}
		var l admin.List[admin.RouteTraffic]
		q := url.Values{"sort": {c.Sort}, "limit": {fmt.Sprint(limit)}}
		err := c.ask(ctx, env, "routes", q, &l, func(out io.Writer) error {
			if clears {
				fmt.Fprint(out, "\x1b[H\x1b[2J")
			}
			fmt.Fprintf(out, "%s  %d routes, by %s\n", time.Now().Format(time.TimeOnly), l.Total, c.Sort)
			return routeTable(out, l.Items).print(out, "no route: serai rejections says what is refused, serai events what has gone")
		})
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C is how it ends
		case err != nil && begun && errors.As(err, new(*awayError)):
			fmt.Fprintf(env.stderr, "%s  %v\n", time.Now().Format(time.TimeOnly), err)
		case err != nil || c.Once:
			return err
		}
		begun = true
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(c.Every.value(), 200*time.Millisecond)):
		}
	}
}
