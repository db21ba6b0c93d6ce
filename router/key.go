package router

import (
	"slices"
	"strings"

	"github.com/agext/levenshtein"

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
	// repeated says that a route may have several such tags. Its route and member then
	// write each on a line.
	repeated bool
	// also are words for this key in other ingresses, or common ones.
	also []string
}

// flaw says what is wrong with a tag, and what to write instead. Both are printable
// ASCII, whatever the tag contained.
type flaw struct{ why, instead string }

// draft is a Definition whose tags are being parsed.
type draft struct {
	*Definition
	redirectStatus int
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
	return slices.Concat(claimKeys(), forwardKeys(), fieldKeys(), balanceKeys(), checkKeys(), limitKeys(), edgeKeys())
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
