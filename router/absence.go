package router

import (
	"slices"
	"strings"
	"time"

	"serai/discovery"
	"serai/upstream"
)

// Absence is a service without instances whose routes linger, while requests, or
// another service that is ready to serve the same claim, wait for the routes to get an
// instance or to end.
type Absence struct {
	discovery.Key
	Job string
}

// interpolated reports whether Nomad replaces a part of text when it starts an
// instance.
func interpolated(text string) bool { return strings.Contains(text, "${") }

// AskAgain is the time after which Nomad is asked again about a job that goes on.
const AskAgain = 10 * time.Second

// Absences returns at most that many services for whose jobs Nomad should be asked
// whether they go on. Each is returned once in AskAgain.
func (b *Builder) Absences(most int) (all []Absence) {
	b.handOver()
	now := b.options.Now()
	for a, at := range b.asked {
		if now.Sub(at) >= AskAgain {
			delete(b.asked, a)
		}
	}
	for key := range b.expiries {
		for _, r := range b.services[key].routes {
			a := Absence{key, r.Job}
			if _, ok := b.asked[a]; ok || r.Job == "" || !r.Lingers() || !b.awaited(r) {
				continue
			}
			if len(all) == most {
				return all
			}
			b.asked[a] = now
			all = append(all, a)
		}
	}
	return all
}

// awaited reports whether requests or rivals wait for the end of a lingering route.
func (b *Builder) awaited(r *Route) bool {
	if r.Pool.Room().Waiting() > 0 {
		return true
	}
	e := b.router.Current().entry(r.Host)
	if e.awaits(r) {
		return true
	}
	for _, c := range b.contests[r.Host] {
		if c.Name != r.contest() {
			continue
		}
		for bucket := range e.buckets() {
			for _, s := range bucket.shadowed() {
				if s.holder == r && s.route.ready() {
					return true
				}
			}
		}
	}
	return false
}

// awaits reports whether another namespace, which is ready to serve the host, waits for
// the end of a lingering route that is the last one with which its namespace holds the
// host.
func (e *entry) awaits(r *Route) bool {
	if e == nil || !slices.ContainsFunc(e.foreign(), (*Route).ready) {
		return false
	}
	for _, t := range e.tenants() {
		if t.namespace == r.Namespace {
			return !t.instances
		}
	}
	return false
}

// ready reports whether an instance of the route takes requests.
func (r *Route) ready() bool {
	for _, m := range r.Pool.Members() {
		if m.Endpoint.State() == upstream.Ready {
			return true
		}
	}
	return false
}

// Offer is a service that instances of a job would register.
type Offer struct {
	Service string
	Tags    []string
}

// Withdraw ends the lingering routes that a job no longer claims. Offers are the
// services that the job's instances would register; none means that no instance would
// start. A route that the job claims under another service name ends once that service
// has a ready instance. It returns the routes that ended.
func (b *Builder) Withdraw(a Absence, offers []Offer) (ended []*Route) {
	s := b.services[a.Key]
	if s == nil {
		return nil
	}
	delete(b.renamed, a)
	for _, r := range s.routes {
		if !r.Lingers() || r.Job != a.Job || b.offered(r, offers, func(name string) bool { return name == a.Name || interpolated(name) }) {
			continue
		}
		if b.offered(r, offers, func(string) bool { return true }) {
			b.renamed[a] = true
			continue
		}
		ended = append(ended, r)
	}
	b.end(ended)
	return append(ended, b.handOver()...)
}

// handOver ends the routes whose job goes on under another service name that is ready.
func (b *Builder) handOver() (ended []*Route) {
	for a := range b.renamed {
		lingers := false
		if s := b.services[a.Key]; s != nil {
			for _, r := range s.routes {
				if !r.Lingers() || r.Job != a.Job {
					continue
				}
				if lingers = true; b.successor(r) {
					ended = append(ended, r)
				}
			}
		}
		if !lingers {
			delete(b.renamed, a)
		}
	}
	b.end(ended)
	return ended
}

// successor reports whether another service of the same job is ready to serve what a
// route holds.
func (b *Builder) successor(r *Route) bool {
	for o := range b.router.Current().entry(r.Host).all() {
		if o.Namespace == r.Namespace && o.Job == r.Job && o.Service != r.Service && o.claim() == r.claim() && o.ready() {
			return true
		}
	}
	return false
}

// end ends lingering routes.
func (b *Builder) end(routes []*Route) {
	if len(routes) == 0 {
		return
	}
	u := b.begin()
	for _, r := range routes {
		b.swap(u, r, nil)
		// If the service comes back and goes again, Nomad is asked again.
		delete(b.asked, Absence{discovery.Key{Namespace: r.Namespace, Name: r.Service}, r.Job})
	}
	b.publish(u, b.router.Current().Index)
}

// offered reports whether an instance of an offer whose name satisfies fits would make
// the claim of r.
func (b *Builder) offered(r *Route, offers []Offer, fits func(name string) bool) bool {
	for _, o := range offers {
		if fits(o.Service) && b.claims(o, r) {
			return true
		}
	}
	return false
}

// claims reports whether an instance of an offer would make the claim of r.
func (b *Builder) claims(o Offer, r *Route) bool {
	if slices.ContainsFunc(o.Tags, interpolated) {
		return true // only the instance knows what Nomad will put there
	}
	definitions, _ := b.grammar.parse(o.Tags, b.defaultHost.defaultOf(r, o.Service))
	for _, d := range definitions {
		if d.Class != b.options.Class || d.Priority != r.Priority || conditionsKey(d.Conditions) != r.conditions ||
			!slices.Contains(d.Hosts, r.Host) {
			continue
		}
		paths := d.Prefixes
		if r.Exact {
			paths = d.Exact
		}
		if slices.Contains(paths, r.Path) {
			return true
		}
	}
	return false
}
