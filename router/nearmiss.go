package router

import (
	"bytes"
	"strings"
)

// nearMiss says why a path that looks as if the route took it is another one, empty for any
// other path.
func nearMiss(r *Route, path []byte) string {
	before, _, star := strings.Cut(r.Path, "*")
	switch below := strings.TrimSuffix(r.Path, "/") + "/"; {
	case star && bytes.HasPrefix(path, []byte(before)):
		return ": a star stands for itself, and a prefix without one takes all that is below it"
	case r.Exact && len(r.Path) > 1 && bytes.HasPrefix(path, []byte(below)):
		return ", and path-exact takes nothing that is below it, or has a slash more"
	case r.Exact && string(path) == strings.TrimSuffix(r.Path, "/"):
		return ", which has a slash more"
	case !r.Exact && len(path) > len(r.Path) && bytes.HasPrefix(path, []byte(r.Path)) && path[len(r.Path)] != '/':
		return ": a prefix takes its own path and what is below it, " + below
	case takesPath(strings.ToLower(r.Path), r.Exact, bytes.ToLower(path)):
		return ": upper and lower case differ"
	}
	return ""
}
