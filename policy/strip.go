package policy

import "bytes"

// strip removes a prefix from the path that an instance receives.
type strip struct{ prefix []byte }

var _ ForwardPolicy = (*strip)(nil)

func compileStrip(o *OfInstance) Policy {
	if o.Strip == "" || o.Strip == "/" {
		return nil
	}
	return &strip{[]byte(o.Strip)}
}

// Forward implements ForwardPolicy. The prefix matches whole segments; the bytes after
// it are not changed.
func (p *strip) Forward(f *Forward) {
	rest, ok := bytes.CutPrefix(f.Path, p.prefix)
	switch {
	case !ok || len(rest) > 0 && rest[0] != '/':
		return
	case len(rest) == 0:
		rest = slash
	}
	f.SetPath(rest)
	f.Stripped = p.prefix
}

var slash = []byte("/")

// Explain implements Policy.
func (p *strip) Explain() string {
	return "strip: " + string(p.prefix) + " is removed from the path that is sent"
}
