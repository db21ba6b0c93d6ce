package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"serai/admin"
	"serai/router"
)

// paging are the flags of lists that come in pages.
type paging struct {
	Limit  int `short:"n" default:"100" help:"How many, at most 1000." placeholder:"NUMBER"`
	Offset int `help:"How many to skip first." placeholder:"NUMBER"`
}

// more says that there are others.
func more(out io.Writer, total, next int) {
	if next > 0 {
		fmt.Fprintf(out, "%d more: --offset=%d\n", total-next, next)
	}
}

// none says why a page has nothing, or what is given for an empty list.
func (p *paging) none(total int, empty string) string {
	if total > 0 {
		return fmt.Sprintf("no more: there are %d, and --offset=%d leaves them out", total, p.Offset)
	}
	return empty
}

// routesCommand is `serai routes`.
type routesCommand struct {
	asking
	selecting
	paging
	Sort string `enum:"host,rate,errors,latency" default:"host" help:"host, or rate, errors or latency, the highest first." placeholder:"BY"`
}

// Run prints one line for each route.
func (c *routesCommand) Run(ctx context.Context, env *environment) error {
	q := c.query()
	q.Set("limit", fmt.Sprint(c.Limit))
	q.Set("offset", fmt.Sprint(c.Offset))
	q.Set("sort", c.Sort)
	var l admin.List[admin.RouteTraffic]
	return c.ask(ctx, env, "routes", q, &l, func(out io.Writer) error {
		err := routeTable(out, l.Items).print(out, c.none(l.Total, "no route: serai rejections says what is refused, serai events what has gone"))
		more(out, l.Total, l.Next)
		return err
	})
}

// routeTable has one line for each route.
func routeTable(out io.Writer, routes []admin.RouteTraffic) *table {
	t := newTable(out, "HOST AND PATH", "SERVICE", "READY", "REQ/S", "5XX/S", "P50", "P99", "IN FLIGHT", "NOTES")
	for _, r := range routes {
		ready := 0
		for _, m := range r.Members {
			if m.State == "ready" {
				ready++
			}
		}
		path := r.Path
		if r.Exact {
			path += " exactly"
		}
		notes := r.Conditions
		if r.Lingers {
			notes = append(notes, "waits for an instance until "+r.Expires.Local().Format(time.TimeOnly))
		}
		if r.Closed {
			notes = append(notes, "closed: a guard is refused")
		}
		name := r.Namespace + "/" + r.Service
		if r.Route.Route != "" {
			name += " " + r.Route.Route
		}
		t.add(r.Host+path, name, fmt.Sprintf("%d/%d", ready, len(r.Members)), rate(r.Traffic.Rate.Requests), rate(r.Traffic.Rate.Errors),
			millis(r.Traffic.P50), millis(r.Traffic.P99), fmt.Sprint(r.Traffic.Inflight), strings.Join(notes, ", "))
	}
	return t
}

func rate(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", v)
}

func millis(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 10_000:
		return fmt.Sprintf("%.0fs", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1fs", v/1000)
	}
	return fmt.Sprintf("%.1fms", v)
}

// instancesCommand is `serai instances`.
type instancesCommand struct {
	asking
	selecting
	paging
	State string `enum:",ready,probing,ejected,leaving" default:"" help:"Only in this state." placeholder:"STATE"`
}

// Run prints one line for each instance.
func (c *instancesCommand) Run(ctx context.Context, env *environment) error {
	q := c.query()
	q.Set("limit", fmt.Sprint(c.Limit))
	q.Set("offset", fmt.Sprint(c.Offset))
	if c.State != "" {
		q.Set("state", c.State)
	}
	var l admin.List[*admin.Instance]
	return c.ask(ctx, env, "instances", q, &l, func(out io.Writer) error {
		t := newTable(out, "SERVICE", "ADDRESS", "ALLOC", "STATE", "SINCE", "IN FLIGHT", "REQUESTS", "WHY")
		if slices.Contains(l.Items, nil) {
			return c.isNotAPI(errNull)
		}
		for _, i := range l.Items {
			service := "-" // no route uses it
			if i.Service != "" {
				service = i.Namespace + "/" + i.Service
			}
			t.add(service, i.Address, short(i.Alloc), i.State, ago(i.Since), fmt.Sprint(i.Inflight), fmt.Sprint(i.Requests), i.Cause)
		}
		err := t.print(out, c.none(l.Total, "no instance"))
		more(out, l.Total, l.Next)
		return err
	})
}

// errNull is an item of a list that the API never sends.
var errNull = errors.New("an item of its list is null")

// short is the beginning of an allocation's ID, as Nomad shows it.
func short(id string) string { return fmt.Sprintf("%.8s", id) }

// ago says how long something has been so.
func ago(since time.Time) string {
	d := time.Since(since).Round(time.Second)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	case d >= time.Hour:
		return d.Round(time.Minute).String()[:len(d.Round(time.Minute).String())-2]
	}
	return d.String()
}

// rejectionsCommand is `serai rejections`.
type rejectionsCommand struct {
	asking
	selecting
	paging
}

// Run prints each rejection with what to write instead.
func (c *rejectionsCommand) Run(ctx context.Context, env *environment) error {
	q := c.query()
	q.Set("limit", fmt.Sprint(c.Limit))
	q.Set("offset", fmt.Sprint(c.Offset))
	var l admin.List[router.Rejection]
	return c.ask(ctx, env, "rejections", q, &l, func(out io.Writer) error {
		for _, r := range l.Items {
			printRejection(out, &r)
		}
		if len(l.Items) == 0 {
			fmt.Fprintln(out, c.none(l.Total, "nothing is refused"))
		}
		more(out, l.Total, l.Next)
		return nil
	})
}

func printRejection(out io.Writer, r *router.Rejection) {
	name := r.Namespace + "/" + r.Service
	if r.Route != "" {
		name += " route " + r.Route
	}
	fmt.Fprintf(out, "%s (instances: %d)\n", shown(name), r.Instances)
	for _, line := range [][2]string{{"tag", r.Tag}, {"why", r.Why}, {"instead", r.Instead}, {"hosts", strings.Join(r.Hosts, " ")}} {
		if line[1] != "" {
			fmt.Fprintf(out, "  %-8s %s\n", line[0], shown(line[1]))
		}
	}
}

// statusCommand is `serai status`.
type statusCommand struct{ asking }

// Run prints the state in brief. It fails while serai is not ready.
func (c *statusCommand) Run(ctx context.Context, env *environment) error {
	var s admin.Status
	state := func() string {
		switch {
		case s.Readiness.Draining:
			return "draining"
		case !s.Readiness.Ready:
			return "not ready"
		}
		return "ready"
	}
	err := c.ask(ctx, env, "status", nil, &s, func(out io.Writer) error {
		line := func(name, format string, args ...any) {
			fmt.Fprintf(out, "%-13s %s\n", name, shown(fmt.Sprintf(format, args...)))
		}
		line("serai", "%s on %s, for %s", s.Version, s.Name, ago(s.Started))
		line("state", "%s", state())
		for _, why := range s.Readiness.Why {
			line("", "%s", why)
		}
		for _, source := range s.Readiness.Sources {
			line("source", "%s: %s; %d services, %d instances", source.Source, source.Says, source.Services, source.Instances)
		}
		line("traffic", "%.1f requests/s, %.1f errors/s, p50 %s, p99 %s, %d in flight", s.Traffic.Requests, s.Traffic.Errors, millis(s.Traffic.P50), millis(s.Traffic.P99), s.Traffic.Inflight)
		line("routes", "%d for %d hosts, %d without an instance; %d rejections", s.Counts.Routes, s.Counts.Hosts, s.Counts.Lingering, s.Counts.Rejections)
		line("instances", "%d ready, %d probing, %d ejected", s.Instances["ready"], s.Instances["probing"], s.Instances["ejected"])
		for _, name := range slices.Sorted(maps.Keys(s.Listeners)) {
			line("listener", "%s: %d connections", name, s.Listeners[name].Connections)
		}
		for _, text := range certificatesInWords(s.Certificates) {
			line("certificates", "%s", text)
		}
		return nil
	})
	if err == nil && state() != "ready" {
		return fmt.Errorf("serai is %s", state())
	}
	return err
}
