package router_test

import (
	"slices"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// wrongGuards returns ways to write a tag of a guard wrong, without the prefix of the
// route.
func wrongGuards(k router.Key) (ways map[string][]string) {
	with := []string{}
	if k.With != "" {
		with = append(with, k.With)
	}
	good := k.Name + "=" + k.Example
	return map[string][]string{
		"no value":           append(with, k.Name),
		"an empty value":     append(with, k.Name+"="),
		"a blank value":      append(with, k.Name+"= \t"),
		"a value of nothing": append(with, k.Name+"=\x00"),
		"a value of another": append(with, k.Name+"=!"),
		"a list with a hole": append(with, k.Name+"="+k.Example+",,"),
		"twice":              append(with, good, good),
		"in upper case":      append(with, upper(k.Name)+"="+k.Example),
		"misspelled":         append(with, k.Name+"x="+k.Example),
		"beside a mistake":   append(with, good, "weight=lots"),
		"beside an unknown":  append(with, good, "whatever=1"),
		"too long":           append(with, k.Name+"="+k.Example+string(make([]byte, 5000))),
	}
}

func upper(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// TestNoWrongGuardIsOpen writes each guard wrong in each way, on a path of a host that is
// open otherwise: the path is closed, or has the guard.
func TestNoWrongGuardIsOpen(t *testing.T) {
	guards := 0
	for _, k := range router.Keys() {
		if !k.Guard {
			continue
		}
		guards++
		for way, tags := range wrongGuards(k) {
			list := []string{"ingress.host=a.example", "ingress.admin.host=a.example", "ingress.admin.path=/admin"}
			for _, tag := range tags {
				list = append(list, "ingress.admin."+tag)
			}
			table := tableOf(t, list)
			q := &router.Query{Host: []byte("a.example"), Method: []byte("GET"), Path: []byte("/admin/x"), Attributes: attributes{}}
			route, _ := table.Lookup(q)
			if route == nil || route.Path != "/admin" || !route.Policies.MayAnswer() {
				t.Errorf("%s, %s: %q lead to %v; refused: %v", k.Name, way, tags, route, table.Rejections())
			} else if !route.Options.Closed {
				t.Errorf("%s, %s: %q make a route: %v", k.Name, way, tags, table.Explain(q).Policies)
			}
			if len(table.Rejections()) == 0 {
				t.Errorf("%s, %s: nothing is refused", k.Name, way)
			}
			if q.Path = []byte("/"); slices.ContainsFunc(table.Rejections(), func(r router.Rejection) bool { return r.Route == "" }) {
				t.Errorf("%s, %s: the route beside it is refused, too", k.Name, way)
			} else if route, _ := table.Lookup(q); route == nil || route.Path != "/" || route.Policies != nil {
				t.Errorf("%s, %s: the route beside it is %v", k.Name, way, route)
			}
		}
	}
	if guards < 5 {
		t.Errorf("only %d keys are guards", guards)
	}
}

// tableOf is the table of one instance with these tags.
func tableOf(t *testing.T, tags []string) *router.Table {
	t.Helper()
	table := router.NewRouter()
	b, err := router.NewBuilder(table, router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	key := discovery.Key{Namespace: "default", Name: "web"}
	b.Update(&discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: "1", Namespace: "default", Service: "web", Address: "10.0.0.1", Port: 80, Tags: tags, Created: 1, Modified: 1,
	}}}}})
	return table.Current()
}

func FuzzGuards(f *testing.F) {
	for _, tag := range []string{"allow=10.0.0.0/8", "deny=::1", "rate=5/m", "rate-burst=7", "rate-by=header:x", "cors=https://*.example.org:8443,null", "cors=*", "cors-methods=PUT", "cors-max-age=1h", "cors-credentials=true", "cors-headers=*", "cors-expose=x"} {
		f.Add(tag, "rate=1/s", "cors=http://a.example")
	}
	f.Fuzz(func(t *testing.T, one, two, three string) {
		words, grammar := router.NewWords(), router.NewGrammar("ingress")
		list := []string{"ingress.host=a.example", "ingress." + one, "ingress." + two, "ingress." + three}
		all, problems := grammar.Parse(list)
		for _, p := range problems {
			for _, text := range []string{p.Why, p.Instead, p.Tag} {
				for i := range len(text) {
					if text[i] < ' ' || text[i] > '~' {
						t.Fatalf("%q: %q is not printable", list, text)
					}
				}
			}
		}
		if len(problems) > 0 || len(all) != 1 || all[0].Name != "" || len(all[0].Hosts) != 1 {
			return
		}
		// What is shown means the same.
		again := []string{"ingress.host=a.example"}
		for key, word := range words.Route(all[0].Options) {
			again = append(again, "ingress."+key+"="+word)
		}
		twice, problems := grammar.Parse(again)
		if len(problems) > 0 || len(twice) != 1 {
			t.Fatalf("%q is shown as %q: %v", list, again, problems)
		}
		slices.Sort(again)
		shown := []string{"ingress.host=a.example"}
		for key, word := range words.Route(twice[0].Options) {
			shown = append(shown, "ingress."+key+"="+word)
		}
		if slices.Sort(shown); !slices.Equal(shown, again) {
			t.Fatalf("%q is shown as %q, and that as %q", list, again, shown)
		}
	})
}
