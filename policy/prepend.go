package policy

import "serai/internal/urlpath"

// prepend puts a prefix before the path that an instance receives, behind strip and
// rewrite.
type prepend struct{ prefix []byte }

var _ ForwardPolicy = (*prepend)(nil)

func compilePrepend(o *OfInstance) Policy {
	if o.Prepend == "" || o.Prepend == "/" {
		return nil
	}
	return &prepend{[]byte(o.Prepend)}
}

// Forward implements ForwardPolicy. A path that leads out of the prefix is refused, and
// so are all others with dot segments, which no client sends by itself (RFC 3986
// section 5.2.4): see Rewrite.
func (p *prepend) Forward(f *Forward) {
	switch {
	case len(f.Path) == 0 || f.Path[0] != '/': // the "*" of OPTIONS
	case urlpath.HasDots(f.Path):
		f.Refuse("the path has dot segments, and its route puts a prefix before it")
	default:
		f.SetPath(f.Values.Keep(append(append(f.Values.Start(), p.prefix...), f.Path...)))
	}
}

// Explain implements Policy.
func (p *prepend) Explain() string {
	return "prepend: " + string(p.prefix) + " is put before the path that is sent"
}
