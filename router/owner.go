package router

import (
	"fmt"
	"slices"
	"strings"
)

// owners says which namespace may serve which host.
//
// A pattern here covers more than in a tag: "*.example.org" covers every name below
// example.org at any depth, but not example.org itself, and "*" covers every host. When
// several patterns cover a host, the longest one decides; it may be listed for several
// namespaces, which then share it.
type owners struct {
	// exact and below hold namespaces by host, and by what follows "*.";
	// below[""] is "*".
	exact, below map[string][]string
	listed       map[string]bool
}

// newOwners reads patterns by namespace. The error has all that is wrong.
func newOwners(hosts map[string][]string) (*owners, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	o := &owners{make(map[string][]string), make(map[string][]string), make(map[string]bool)}
	var wrong []string
	for namespace, patterns := range hosts {
		o.listed[namespace] = true
		for _, p := range patterns {
			host, f := parseHostPattern(p)
			if f != nil {
				wrong = append(wrong, fmt.Sprintf("hosts of namespace %q: %s; want %s", namespace, f.why, f.instead))
				continue
			}
			if host == "*" {
				host = "*."
			}
			if suffix, ok := strings.CutPrefix(host, "*."); ok {
				o.below[suffix] = append(o.below[suffix], namespace)
			} else {
				o.exact[host] = append(o.exact[host], namespace)
			}
		}
	}
	for _, of := range []map[string][]string{o.exact, o.below} {
		for host, namespaces := range of {
			slices.Sort(namespaces)
			of[host] = slices.Compact(namespaces) // one may be named twice
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return nil, fmt.Errorf("%s", strings.Join(wrong, "\n"))
	}
	return o, nil
}

// of returns the namespaces that own host, a name or a pattern, and the pattern that
// decides; nil when no namespace does.
func (o *owners) of(host []byte) (namespaces []string, pattern string) {
	if ns, ok := o.exact[string(host)]; ok {
		return ns, string(host)
	}
	for rest := parent(host); rest != nil; rest = parent(rest) {
		if ns, ok := o.below[string(rest)]; ok {
			return ns, "*." + string(rest)
		}
	}
	if ns, ok := o.below[""]; ok {
		return ns, "*"
	}
	return nil, ""
}

// covers reports whether some namespace owns a host.
func (o *owners) covers(host string) bool {
	if o == nil {
		return false
	}
	namespaces, _ := o.of([]byte(host))
	return namespaces != nil
}

// allow reports whether namespace may serve host, a name without pattern. It
// does not allocate.
func (o *owners) allow(namespace string, host []byte) bool {
	ns, ok := o.exact[string(host)]
	for rest := parent(host); !ok && rest != nil; rest = parent(rest) {
		ns, ok = o.below[string(rest)]
	}
	if !ok {
		ns, ok = o.below[""]
	}
	if !ok {
		return !o.listed[namespace]
	}
	return slices.Contains(ns, namespace)
}

// refuse says why namespace may not claim a host pattern, nil when it may. A pattern
// that only overlaps with what others own may be claimed: it gets no requests for their
// hosts.
func (o *owners) refuse(namespace, host string) (f *flaw, holder string) {
	if o == nil {
		return nil, ""
	}
	held, pattern := o.of([]byte(host))
	switch {
	case slices.Contains(held, namespace):
		return nil, ""
	case held == nil && !o.listed[namespace]:
		return nil, ""
	case o.listed[namespace]:
		f = &flaw{fmt.Sprintf("host %s is outside the hosts of namespace %s", host, printable(namespace)), "one of: " + strings.Join(o.hosts(namespace), ", ")}
	default:
		f = &flaw{"", "a host outside " + pattern}
	}
	if held != nil {
		holder = "namespace " + strings.Join(held, ", ")
		f.why = fmt.Sprintf("host %s belongs to %s", host, printable(holder))
	}
	return f, holder
}

// exclude says why namespace may not claim a host pattern that others share, nil when
// it may.
func (o *owners) exclude(namespace, host string) (f *flaw, holder string) {
	if o == nil {
		return nil, ""
	}
	sharers, pattern := o.of([]byte(host))
	if sharers == nil || slices.Contains(sharers, namespace) {
		return nil, ""
	}
	holder = "namespace " + printable(strings.Join(sharers, ", "))
	return &flaw{fmt.Sprintf("host %s is shared by %s, and nobody else", host, holder),
		fmt.Sprintf("another host; the operator can add %s to share %q in the file of --config", quote(namespace), pattern)}, holder
}

// hosts returns the patterns of a namespace.
func (o *owners) hosts(namespace string) (patterns []string) {
	for host, ns := range o.exact {
		if slices.Contains(ns, namespace) {
			patterns = append(patterns, host)
		}
	}
	for suffix, ns := range o.below {
		if slices.Contains(ns, namespace) {
			patterns = append(patterns, strings.TrimSuffix("*."+suffix, "."))
		}
	}
	slices.Sort(patterns)
	return patterns
}
