package mesh

import (
	"fmt"
	"time"
)

// Status is what is known of serai's place in the mesh at one moment.
type Status struct {
	// Wanted says that a connection in the mesh was wanted. Before that nothing is asked.
	Wanted bool
	// Service is serai's name in the mesh, URI its identity there; empty before there is one.
	Service, URI string
	TrustDomain  string
	// Until is when serai's certificate ends, RootsUntil when the last of the Roots does; zero
	// before they are known.
	Until, RootsUntil time.Time
	Roots             int
	// Renewals and Rotations count the certificates and lists of roots that were read.
	Renewals, Rotations uint64
	// Problems say what is wrong, and what to do; none when nothing is.
	Problems []string
}

// Status returns what is known now.
func (m *Mesh) Status() Status {
	known, now := m.known.Load(), time.Now()
	s := Status{
		Service: m.options.Service, URI: known.uri, TrustDomain: known.domain, Until: known.until, RootsUntil: known.rootsUntil, Roots: known.roots,
		Renewals: m.leaf.changes.Load(), Rotations: m.roots.changes.Load(),
	}
	select {
	case <-m.wanted:
		s.Wanted = true
	default:
		return s
	}
	if why := m.lacks(known, now); why != "" {
		s.Problems = append(s.Problems, "services in Consul's mesh are not reached: "+why)
		return s
	}
	for _, f := range []struct {
		*followed
		from, until time.Time
	}{{m.leaf, known.from, known.until}, {m.roots, known.rootsFrom, known.rootsUntil}} {
		since, err := f.trouble()
		switch {
		case err != nil:
			s.Problems = append(s.Problems, fmt.Sprintf("the %s of Consul's mesh cannot be renewed since %s, and expires at %s: %v",
				f.what, since.UTC().Format(time.RFC3339), f.until.UTC().Format(time.RFC3339), err))
		case nearEnd(f.from, f.until, now):
			s.Problems = append(s.Problems, fmt.Sprintf("the %s of Consul's mesh expires at %s, and the agent does not renew it: its log says why", f.what, f.until.UTC().Format(time.RFC3339)))
		}
	}
	return s
}

// nearEnd reports whether less than a tenth of a validity is left: agents renew before.
func nearEnd(from, until, now time.Time) bool { return until.Sub(now) < until.Sub(from)/10 }

// due reports whether the certificate should have been renewed.
func (m *Mesh) due() bool {
	known := m.known.Load()
	return known.certificate != nil && nearEnd(known.from, known.until, time.Now())
}
