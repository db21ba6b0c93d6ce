package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"serai/admin"
	"serai/internal/history"
)

// eventsCommand is `serai events`.
type eventsCommand struct {
	asking
	selecting
	Follow bool   `short:"f" help:"Keep printing events as they happen."`
	Since  string `help:"Only events after this one: an ID, a time such as 2026-01-31T03:12:00Z, or how long ago, such as 30m." placeholder:"WHEN"`
	Event  string `help:"Only of this kind, such as instance-ejected." placeholder:"KIND"`
	Limit  int    `short:"n" default:"0" help:"Only the newest ones; 0 for all." placeholder:"NUMBER"`
}

// Run prints one line for each event, the oldest first.
func (c *eventsCommand) Run(ctx context.Context, env *environment) error {
	q := c.query()
	if since := c.Since; since != "" {
		if ago, err := time.ParseDuration(since); err == nil && since != "0" { // which is an ID
			since = time.Now().Add(-ago).UTC().Format(time.RFC3339)
		}
		q.Set("since", since)
	}
	if c.Event != "" {
		q.Set("event", c.Event)
	}
	if c.Limit > 0 {
		q.Set("limit", fmt.Sprint(c.Limit))
	}
	if !c.Follow {
		var all admin.Events
		return c.ask(ctx, env, "events", q, &all, func(out io.Writer) error {
			if slices.Contains(all.Items, nil) {
				return c.isNotAPI(errNull)
			}
			for _, e := range all.Items {
				if _, err := fmt.Fprintln(out, fit(eventLine(e), widthOf(out))); err != nil {
					return err
				}
			}
			if len(all.Items) == 0 {
				fmt.Fprintln(out, "no event matches these flags")
			}
			return nil
		})
	}
	return c.follow(ctx, env, "events", q, func(data []byte) (int64, error) {
		var e history.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return 0, c.isNotAPI(err)
		}
		if e.ID == 0 {
			return 0, c.isNotAPI(errNull)
		}
		if c.JSON {
			_, err := fmt.Fprintf(env.stdout, "%s\n", data)
			return e.ID, err
		}
		_, err := fmt.Fprintln(env.stdout, fit(eventLine(&e), widthOf(env.stdout)))
		return e.ID, err
	})
}

// eventLine is an event for people.
func eventLine(e *history.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %-19s  ", e.Time.Local().Format("2006-01-02 15:04:05"), e.Kind)
	who := aboutWhom(&e.Subject)
	if who != "" {
		b.WriteString(who + ": ")
	}
	b.WriteString(e.Message)
	if e.Why != "" {
		b.WriteString(": " + e.Why)
	}
	if who == "" { // it is about several, or about serai itself
		for _, name := range slices.Sorted(maps.Keys(e.Details)) {
			b.WriteString(" " + name + "=" + e.Details[name])
		}
	}
	if e.Times > 1 {
		fmt.Fprintf(&b, " (%d times since %s)", e.Times, e.First.Local().Format("15:04:05"))
	}
	return shown(b.String())
}

// aboutWhom names a subject.
func aboutWhom(s *history.Subject) string {
	var parts []string
	switch {
	case s.Service != "":
		parts = append(parts, s.Namespace+"/"+s.Service)
	case s.Namespace != "":
		parts = append(parts, "namespace "+s.Namespace)
	}
	for _, part := range []string{s.Host, s.Address, s.Source} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}
