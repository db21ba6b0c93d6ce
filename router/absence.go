package router

import (
	"slices"
	"strings"
	"time"

	"serai/discovery"
	"serai/upstream"
)

// Absence is a service without instances whose routes linger, and somebody
// waits for what becomes of them: requests, or another service that is ready
// to serve what they hold.
type Absence struct {
	discovery.Key
	Job string
}

// interpolated reports whether Nomad fills something in when it starts an
// instance.
func interpolated(text string) bool { return strings.Contains(text, "${") }

// AskAgain is how soon after the answer that a job goes on it is asked about
// again.
const AskAgain = 10 * time.Second

// Absences returns up to most services whose jobs should be asked whether they
// go on. Each is returned once in AskAgain.
func (b *Builder) Absences(most int) (all []Absence) {
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

// awaited reports whether somebody waits for the end of a lingering route.
func (b *Builder) awaited(r *Route) bool {
	if r.Pool.Room().Waiting() > 0 {
		return true
	}
	for _, c := range b.contests[r.Host] {
		if c.Name != r.contest() {
			continue
		}
		for bucket := range b.router.Current().entry(r.Host).buckets() {
			for _, s := range bucket.shadowed {
				if s.holder == r && s.route.ready() {
					return true
				}
			}
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

// Withdraw ends the lingering of what a job does not claim any more. Offers
// are the tags with which its instances would come, none when none would. It
// returns the routes that ended.
func (b *Builder) Withdraw(a Absence, offers [][]string) (ended []*Route) {
	s := b.services[a.Key]
	if s == nil {
		return nil
	}
	u := b.begin()
	for _, r := range slices.Clone(s.routes) {
		if r.Lingers() && r.Job == a.Job && !b.offered(r, offers) {
			ended = append(ended, r)
			b.swap(u, r, nil)
		}
	}
	if len(ended) > 0 {
		delete(b.asked, a) // should it come back and go again
		b.publish(u, b.router.Current().Index)
	}
	return ended
}

// offered reports whether an instance with one of these lists of tags would
// claim what r does.
func (b *Builder) offered(r *Route, offers [][]string) bool {
	for _, tags := range offers {
		if slices.ContainsFunc(tags, interpolated) {
			return true // only the instance knows what will stand there
		}
		definitions, _ := b.grammar.Parse(tags)
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
	}
	return false
}
