package router

import (
	"cmp"
	"fmt"
	"strings"

	"serai/policy"
)

// Setting is one attribute of a policy block of the operator's file: a key of the tags,
// and its values.
type Setting struct {
	Key    string
	Values []string
}

// SettingProblem says what is wrong with a setting, and what to write instead.
type SettingProblem struct {
	// Setting is its index, -1 when the whole block is wrong.
	Setting      int
	Why, Instead string
}

func (p SettingProblem) String() string {
	if p.Instead == "" {
		return p.Why
	}
	return p.Why + "; instead: " + p.Instead
}

// defaultNetworks bounds the addresses of one list in the operator's file, which may be those of
// a country; a tag has room for fewer.
const defaultNetworks = 16384

// SetNetworks bounds the addresses of one list of a policy block; 0 means the default, 16,384.
func (g *Grammar) SetNetworks(most int) { g.networks = most }

// ParsePolicy reads the settings of a policy block with the grammar of the tags. The
// result is nil when there is a problem.
func (g *Grammar) ParsePolicy(name string, settings []Setting) (*policy.Named, []SettingProblem) {
	r := &reading{draft: draft{Definition: newDefinition(""), redirectStatus: 308, operators: true, networks: cmp.Or(g.networks, defaultNetworks)}, seen: make(map[string]bool)}
	var problems []SettingProblem
	for i, s := range settings {
		if f := g.readSetting(r, s); f != nil {
			problems = append(problems, SettingProblem{i, f.why, f.instead})
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	for i, s := range settings {
		if of := g.group(s.Key); !r.seen[of] {
			return nil, []SettingProblem{{i, fmt.Sprintf("%s has no effect without %s", attribute(s.Key), attribute(of)), "both, or none of them"}}
		}
	}
	if f := r.incomplete(); f != nil {
		return nil, []SettingProblem{{-1, f.why, f.instead}}
	}
	r.settle(r.redirectStatus, false)
	return &policy.Named{Name: name, Route: r.Options.OfRoute, Instance: r.Instance.OfInstance, Once: r.once}, nil
}

// readSetting reads one attribute into r.
func (g *Grammar) readSetting(r *reading, s Setting) *flaw {
	k := g.keys[s.Key]
	switch {
	case k == nil:
		f := &flaw{fmt.Sprintf("%s is not a key", quote(attribute(s.Key))), "one of: " + strings.Join(g.policyKeys(), ", ")}
		if near := g.nearest(s.Key); near != "" && g.keys[near].named != never {
			f.instead = "did you mean " + attribute(near) + "?"
		}
		return f
	case k.named == never:
		return &flaw{fmt.Sprintf("%s cannot be set by a policy: %s", attribute(s.Key), k.notNamed), "a tag of the route"}
	case len(s.Values) == 0:
		return &flaw{fmt.Sprintf("%s has no value", attribute(s.Key)), k.Value}
	}
	values := s.Values
	if !k.repeated {
		if len(values) > 1 && !k.isList() {
			return &flaw{fmt.Sprintf("%s wants one value", attribute(s.Key)), k.Value}
		}
		values = []string{strings.Join(values, ",")}
	}
	r.seen[k.Name] = true
	for _, value := range values {
		value = trim(value)
		f := k.check(value, k.Value)
		if f == nil {
			f = k.read(&r.draft, value, k.Value)
		}
		if f != nil {
			return f
		}
		r.note(k, value)
	}
	return nil
}

// isList reports whether the value of a key is a list with commas.
func (k *key) isList() bool { return strings.HasSuffix(k.Value, ",...") }

// policyKeys are the attributes that a policy block may have.
func (g *Grammar) policyKeys() (names []string) {
	for _, k := range PolicyKeys() {
		names = append(names, attribute(k.Name))
	}
	return names
}

// PolicyKey is a key that a policy block may give.
type PolicyKey struct {
	Key
	// Adds says that the settings of several policies, and of the route's tags, are all
	// applied. Otherwise only one of them may give the key.
	Adds bool
}

// PolicyKeys returns the keys that a policy block may give.
func PolicyKeys() (list []PolicyKey) {
	for _, k := range keys() {
		if k.named != never {
			list = append(list, PolicyKey{k.Key, k.named == adds})
		}
	}
	return list
}

// attribute is a key as an attribute in the operator's file.
func attribute(key string) string { return strings.ReplaceAll(key, "-", "_") }
