package router

import "strings"

// Problem is one reason why tags of an instance are refused.
type Problem struct {
	// Route is the name of the refused route, printable. Whole says that every route of
	// the instance is refused, None that no route is.
	Route string
	Whole bool
	None  bool
	// Tag is the tag as written, printable and shortened.
	Tag string
	// Why says what is wrong, Instead what to write.
	Why, Instead string
	// Hosts are the hosts of the refused route, as far as they could be read.
	Hosts []string
	// DefaultHost says that these are the default host.
	DefaultHost bool
}

func (p Problem) compare(q Problem) int {
	return cmpStrings(p.Route, q.Route, p.Tag, q.Tag, p.Why, q.Why)
}

// cmpStrings compares pairs of strings in turn.
func cmpStrings(pairs ...string) int {
	for i := 0; i < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
