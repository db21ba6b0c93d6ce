package router_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"serai/router"
)

// wrongClaims returns ways to write a tag wrong that says which requests a route takes.
func wrongClaims(k router.Key, good string) (ways map[string][]string) {
	ways = map[string][]string{
		"no value":         {k.Name},
		"an empty value":   {k.Name + "="},
		"a blank value":    {k.Name + "= \t"},
		"a control":        {k.Name + "=" + good + "\x00"},
		"a list of holes":  {k.Name + "=,,"},
		"in upper case":    {upper(k.Name) + "=" + good},
		"misspelled":       {k.Name + "x=" + good},
		"too long":         {k.Name + "=" + good + strings.Repeat(",/x", 3000)},
		"nothing like it":  {"zzzzzzzz=" + good},
		"left by Nomad":    {k.Name + "=${meta.no such}"},
		"with one that is": {k.Name + "=" + good + ",\x7f"},
	}
	switch k.Name {
	case "query": // of which these are names
		delete(ways, "a list of holes")
		delete(ways, "left by Nomad")
	case "header": // which may be repeated
	default:
		ways["twice"] = []string{k.Name + "=" + good, k.Name + "=" + good}
	}
	return ways
}

// claims are the keys that say which requests a route takes, as a guarded one has them, for
// requests that meet them.
var claims = map[string]string{
	"host": "a.example", "path": "/admin", "path-exact": "/secret", "method": "GET", "header": "X-Env: beta", "query": "v=2", "priority": "7", "class": "none",
}

// TestNoUnclearGuardIsOpen writes each key that says which requests a guarded route takes wrong,
// in each way, for each kind of guard, beside a route that is open: no request that it takes when
// it is right is open, and what is surely none of it is.
func TestNoUnclearGuardIsOpen(t *testing.T) {
	kinds := make(map[string]int)
	for _, k := range router.Keys() {
		good, ok := claims[k.Name]
		if !ok || k.Name == "class" { // of another class it takes no request here
			continue
		}
		for _, guard := range router.Keys() {
			if !guard.Guard {
				continue
			}
			for way, wrong := range wrongClaims(k, good) {
				list := []string{"ingress.host=a.example,b.example", "ingress.admin." + guard.Name + "=" + guard.Example}
				if guard.With != "" {
					list = append(list, "ingress.admin."+guard.With)
				}
				for name, value := range claims {
					if name != k.Name && name != "class" {
						list = append(list, "ingress.admin."+name+"="+value)
					}
				}
				for _, tag := range wrong {
					list = append(list, "ingress.admin."+tag)
				}
				table := tableOf(t, list)
				at := func(host, path string) string {
					return leadsTo(table, &router.Query{Host: []byte(host), Method: []byte("GET"), Path: []byte(path), RawQuery: []byte("v=2"), Attributes: attributes{"x-env": "beta"}})
				}
				for _, path := range []string{"/admin", "/admin/x", "/secret"} {
					if got := at("a.example", path); got == "open" {
						t.Errorf("%s %s, guarded by %s: %s is open; refused: %v", k.Name, way, guard.Name, path, table.Rejections())
					}
				}
				if len(table.Rejections()) == 0 {
					t.Errorf("%s %s, guarded by %s: nothing is refused", k.Name, way, guard.Name)
				}
				kinds[k.Name+" "+at("a.example", "/")+" "+at("b.example", "/")]++
			}
		}
	}
	for _, want := range []string{"host closed closed", "path closed open", "path-exact closed open", "method open open", "header open open", "query open open", "priority closed open"} {
		if kinds[want] == 0 {
			t.Errorf("%s is never seen", want)
		}
	}
	t.Log(kinds)
}

// pick returns one of some.
func pick(r *rand.Rand, some ...string) string { return some[r.IntN(len(some))] }

// guardedTags returns tags of a few routes of which some have a guard, by route.
func guardedTags(r *rand.Rand) (routes [][]string) {
	for n := range 1 + r.IntN(4) {
		name := fmt.Sprintf("ingress.%c%d.", 'a'+r.IntN(26), n)
		tags := []string{name + "host=" + pick(r, "a.x", "b.x", "a.x,b.x", "*.x", "*", "*.x,a.x")}
		if r.IntN(3) > 0 {
			tags = append(tags, name+"path="+pick(r, "/", "/p", "/p/q", "/p,/q", "/q"))
		}
		if r.IntN(4) == 0 {
			tags = append(tags, name+"path-exact="+pick(r, "/p", "/q/x", "/p/q,/r"))
		}
		if r.IntN(4) == 0 {
			tags = append(tags, name+"method="+pick(r, "GET", "POST", "GET,POST"))
		}
		if r.IntN(4) == 0 {
			tags = append(tags, name+"header="+pick(r, "E: b", "E"))
		}
		if r.IntN(5) == 0 {
			tags = append(tags, name+"priority="+pick(r, "1", "-1"))
		}
		if r.IntN(2) == 0 {
			tags = append(tags, name+pick(r, "allow=10.0.0.0/8", "rate=5/s", "deny=10.0.0.0/8", "allow=192.0.2.0/24"))
		}
		routes = append(routes, tags)
	}
	return routes
}

// spoil writes one tag of a route wrong.
func spoil(r *rand.Rand, tags []string) []string {
	tags = slices.Clone(tags)
	i := r.IntN(len(tags))
	name, value, _ := strings.Cut(tags[i], "=")
	dot := strings.LastIndexByte(name, '.')
	route, key := name[:dot+1], name[dot+1:]
	switch r.IntN(8) {
	case 0:
		tags[i] = name
	case 1:
		tags[i] = name + "="
	case 2:
		tags[i] = name + "=" + value + ",\x01"
	case 3:
		tags[i] = name + "=" + pick(r, "!", ",", "x y", "/a?b", "${x.y}", "9999999999")
	case 4:
		tags[i] = name + "x=" + value
	case 5:
		tags = append(tags, tags[i], route+"weight=lots")
	case 6:
		tags[i] = route + upper(key) + "=" + value
	case 7:
		for n := range tags { // the route's name
			tags[n] = strings.Replace(tags[n], route, "ingress.N!."[:9]+route[8:], 1)
		}
	}
	return tags
}

func sameGuards(a, b *router.RouteOptions) bool {
	return reflect.DeepEqual(a.Allow, b.Allow) && reflect.DeepEqual(a.Deny, b.Deny) && reflect.DeepEqual(a.Rate, b.Rate)
}

// TestSpoiledGuards: whichever tag of a route with a guard is written wrong, every request that
// had to pass a guard of the instance passes it still, or is refused.
func TestSpoiledGuards(t *testing.T) {
	r := rand.New(rand.NewPCG(30, 20))
	seen := make(map[string]int)
	for range 1500 {
		routes := guardedTags(r)
		right := tableOf(t, slices.Concat(routes...))
		guarded := slices.IndexFunc(routes, func(tags []string) bool {
			return slices.ContainsFunc(tags, func(s string) bool {
				return strings.Contains(s, ".allow=") || strings.Contains(s, ".deny=") || strings.Contains(s, ".rate=")
			})
		})
		if guarded < 0 {
			continue
		}
		spoiled := slices.Clone(routes)
		spoiled[guarded] = spoil(r, routes[guarded])
		wrong := tableOf(t, slices.Concat(spoiled...))
		if len(wrong.Rejections()) == 0 {
			continue // 9999999999 may be a header
		}
		for _, host := range []string{"a.x", "b.x", "c.x", "y"} {
			for _, path := range []string{"/", "/p", "/p/q", "/p/q/z", "/q", "/q/x", "/r", "/s"} {
				for _, method := range []string{"GET", "POST"} {
					for _, a := range []attributes{{}, {"e": "b"}} {
						q := &router.Query{Host: []byte(host), Method: []byte(method), Path: []byte(path), Attributes: a}
						before, _ := right.Lookup(q)
						after, _ := wrong.Lookup(q)
						if before == nil || !before.Policies.Guards() || before.Options.Closed {
							continue
						}
						switch {
						case after == nil:
							seen["nothing"]++
						case after.Options.Closed:
							seen["closed"]++
						case sameGuards(before.Options, after.Options):
							seen["guarded"]++
						default:
							t.Fatalf("%q\nwritten as %q:\n%s %s%s %v was for %v and is for %v\n%v", slices.Concat(routes...), slices.Concat(spoiled...), method, host, path, a, before, after, wrong.Rejections())
						}
					}
				}
			}
		}
	}
	if seen["closed"] < 1000 || seen["guarded"] < 1000 {
		t.Errorf("it is always the same: %v", seen)
	}
	t.Log(seen)
}
