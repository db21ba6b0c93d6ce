package router

import "fmt"

// switched is what the enable tag of a route says.
type switched uint8

const (
	unsaid switched = iota
	on
	off
)

// enableKeys are the key that says whether a service takes part.
func enableKeys() []key {
	return []key{{
		Key: Key{Name: enableKey, Value: "true, false", Default: "true",
			Meaning: "`true`: the service takes part, at its [default host](#default-host) where no tag names a host; `false`: the instance takes no part, whatever else its tags say"},
		parse: parseEnable,
		also:  []string{"enabled", "expose", "exposed"},
	}}
}

const enableKey = "enable"

func parseEnable(d *draft, value string) *flaw {
	yes, f := wordList[bool]{{"true", true}, {"false", false}}.parse(value)
	switch {
	case f != nil:
		return f
	case yes:
		d.enable = on
	case d.Name != "":
		return &flaw{fmt.Sprintf("%s=false is about the whole instance, not one of its routes", enableKey), fmt.Sprintf("no tags of route %s, or %s=false without a route, for all of them", d.Name, enableKey)}
	default:
		d.enable = off
	}
	return nil
}

// switchedOff reports whether the instance takes no part.
func switchedOff(routes map[string]*reading) bool {
	r := routes[""]
	return r != nil && r.enable == off
}

// giveHosts gives the default host to the routes without a host that take it: the only
// one of the instance, or one with a name and enable=true. Of several routes the others
// may have been meant for another host, and their guards for other routes.
func giveHosts(routes map[string]*reading, of fallback) {
	if r := routes[""]; r != nil && len(routes) > 1 && r.onlyEnabled() {
		delete(routes, "") // it is about all routes
	}
	for _, r := range routes {
		r.takesDefault = !r.hosted && (len(routes) == 1 || r.Name != "" && r.enable == on)
		if r.takesDefault && of.host != "" {
			r.Hosts, r.DefaultHost, r.hosted = []string{of.host}, true, true
			r.size += len(of.host)
		}
	}
}

// onlyEnabled reports whether enable=true is all that the tags say of the route.
func (r *reading) onlyEnabled() bool {
	return r.enable == on && len(r.seen) == 1 && len(r.problems) == 0
}

// hostless says what is wrong with a route that has no host.
func (g *Grammar) hostless(r *reading, of fallback) *flaw {
	f := &flaw{"the route has no host", g.tag(r.Name, "host") + "NAME"}
	switch {
	case r.takesDefault && of.why != "":
		return &flaw{of.why, f.instead}
	case of.template == "" && r.enable == on:
		f.instead += "; or the operator gives every service a host, with --default-host"
	case of.template != "" && r.Name != "":
		f.instead += fmt.Sprintf(", or %strue for the default host", g.tag(r.Name, enableKey))
	case of.template != "":
		f.instead += fmt.Sprintf("; for the default host, beside other routes, %strue and the same ROUTE in its other tags", g.tag("ROUTE", enableKey))
	}
	return f
}
