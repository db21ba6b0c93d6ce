package router

import (
	"slices"
	"strings"

	"github.com/agext/levenshtein"

	"serai/policy"
	"serai/upstream"
)

// Key is one word of the tag grammar, as documentation prints it.
type Key struct {
	Name    string
	Value   string // what its value looks like
	Meaning string
	Default string // "-" for none
	// Example is a value other than the default, for keys that Words writes; With is a
	// tag, without prefix, that the key needs to have an effect.
	Example, With string
	// Guard says that the key keeps requests away from the route: where the tags of a
	// route with such a key are refused, the route is closed rather than gone.
	Guard bool
}

// key is a Key, with how it is parsed and how it is written: everything about it except
// its effect.
type key struct {
	Key
	// parse writes value into d. It gets no empty value.
	parse func(d *draft, value string) *flaw
	// route and member write the value that a route, or one of its members, has for the
	// key, as a tag would; empty when it is not worth showing. A key has one of them,
	// unless /routes shows it in a field of its own.
	route  func(o *RouteOptions) string
	member func(m *upstream.Member, t *upstream.Target) string
	// also are words for this key in other ingresses, or common ones.
	also []string
	// repeated says that a route may have several such tags.
	repeated bool
	// named says how the key combines when it stands in a policy block of the
	// operator's file; notNamed says why it may not stand there.
	named    combination
	notNamed string
}

// combination says what happens when several of a route's tags and policies give a key.
type combination uint8

const (
	never combination = iota // no policy may give the key
	adds                     // all of them are applied: each guard, each field
	once                     // only one may give it
)

// outside says of keys that no policy may give why that is so.
func outside(why string, list []key) []key {
	for i := range list {
		if k := &list[i]; k.named == never && k.notNamed == "" {
			k.notNamed = why
		}
	}
	return list
}

// combined says how those keys combine, when policies give them, too, that do not say so
// themselves.
func combined(how combination, list []key) []key {
	for i := range list {
		if list[i].named == never {
			list[i].named = how
		}
	}
	return list
}

// check refuses values that no key takes.
func (k *key) check(value, example string) *flaw {
	switch {
	case value == "":
		return &flaw{k.Name + " is empty", example}
	case !clean(value):
		return &flaw{"the value contains control characters", example}
	}
	return nil
}

// read parses a value into d.
func (k *key) read(d *draft, value, example string) *flaw {
	if value == k.Default && (value == "off" || value == "none") {
		return nil // newDefinition has set the default already
	}
	f := k.parse(d, value)
	if f != nil && f.instead == "" {
		f.instead = example
	}
	return f
}

// flaw says what is wrong with a tag, and what to write instead. Both are printable
// ASCII, whatever the tag contained.
type flaw struct{ why, instead string }

// draft is a Definition whose tags are being parsed.
type draft struct {
	*Definition
	redirectStatus int
	enable         switched
	rate           policy.Rate
	cors           policy.CORS
	errors         policy.Errors
	operators      bool // it is a policy block of the operator's file
	networks       int  // addresses of one list of such a block, at most
}

// Keys returns the grammar's keys in the order of its documentation.
func Keys() []Key {
	all := keys()
	list := make([]Key, len(all))
	for i, k := range all {
		list[i] = k.Key
	}
	return list
}

// keys is the whole grammar. It is a function so that no caller can change it.
func keys() []key {
	return slices.Concat(
		outside("it decides which requests the route takes", claimKeys()),
		outside("it says whether a service takes part", enableKeys()),
		outside("it says how the instances are spoken to", slices.Concat(forwardKeys(), instanceKeys())),
		combined(adds, fieldKeys()),
		outside("it says how the requests are divided between the instances", balanceKeys()),
		outside("it says how the instances are checked", checkKeys()),
		outside("it is a limit of the route and its instances", limitKeys()),
		outside("it belongs to the hosts and instances of one service", edgeKeys()),
		combined(adds, guardKeys()),
		combined(once, corsKeys()),
		combined(once, errorKeys()),
		namedKeys(),
	)
}

// nearest returns the key that word probably means, empty when none is similar.
func (g *Grammar) nearest(word string) string {
	word = strings.ToLower(strings.ReplaceAll(word, "_", "-"))
	if len(word) > 32 {
		return ""
	}
	best, distance := "", 1+len(word)/3
	for i := range g.list {
		k := &g.list[i]
		for _, name := range append([]string{k.Name}, k.also...) {
			if d := levenshtein.Distance(word, name, nil); d < distance {
				best, distance = k.Name, d
			}
			if word == name {
				return k.Name
			}
		}
	}
	return best
}
