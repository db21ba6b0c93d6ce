package router_test

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"serai/discovery"
	"serai/internal/testdoc"
	"serai/policy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// shownApart are the keys that /routes shows in separate fields.
var shownApart = []string{"host", "path", "path-exact", "method", "header", "query", "priority", "class", "enable", "weight", "canary"}

// TestEveryKeyIsWrittenAgain: /routes shows what a tag asks for in words that mean the
// same as a tag.
func TestEveryKeyIsWrittenAgain(t *testing.T) {
	words := router.NewWords()
	for _, k := range router.Keys() {
		if k.Value == "" || k.Meaning == "" || k.Default == "" {
			t.Errorf("key %s lacks documentation: %+v", k.Name, k)
		}
		if slices.Contains(shownApart, k.Name) {
			continue
		}
		if k.Example == "" {
			t.Errorf("key %s has no example, so nobody knows whether /routes shows it", k.Name)
			continue
		}
		tags := []string{"ingress.host=a.example.org"}
		if k.With != "" {
			tags = append(tags, "ingress."+k.With)
		}
		without := parseOne(t, tags)
		tags = append(tags, "ingress."+k.Name+"="+k.Example)
		want := parseOne(t, tags)
		if reflect.DeepEqual(want, without) {
			t.Errorf("the example of key %s is its default", k.Name)
		}
		route := routeOf(t, tags)
		member := words.Member(route.Pool.Members()[0])
		shown := words.Route(route.Options)
		for key, word := range member {
			shown[key] = word
		}
		if shown[k.Name] == "" {
			t.Errorf("/routes does not show key %s: give its entry route or member", k.Name)
		}
		again := []string{"ingress.host=a.example.org"}
		for key, words := range shown {
			for word := range strings.SplitSeq(words, "\n") { // of a key that may be repeated, one a line
				again = append(again, "ingress."+key+"="+word)
			}
		}
		if got := parseOne(t, again); !reflect.DeepEqual(got.Options, want.Options) || !reflect.DeepEqual(got.Instance, want.Instance) {
			t.Errorf("%v is shown as %v\n%+v\n%+v, want\n%+v\n%+v", tags, again, got.Options, got.Instance, want.Options, want.Instance)
		}
	}
}

// TestEveryPolicyIsTold: whatever a tag asks of package policy, /explain says it in
// plain words, and docs/policies.md has its key. Each field of the policies' settings is
// some key's.
func TestEveryPolicyIsTold(t *testing.T) {
	document, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(map[string]bool)
	changed := func(with, without any) (any bool) {
		w, o := reflect.ValueOf(with), reflect.ValueOf(without)
		for i := range w.NumField() {
			if !reflect.DeepEqual(w.Field(i).Interface(), o.Field(i).Interface()) {
				asked[w.Type().Name()+"."+w.Type().Field(i).Name], any = true, true
			}
		}
		return any
	}
	// What no tag sets: that is made of refused guards, and the names that are looked up
	// in the operator's file.
	asked["OfRoute.Closed"], asked["OfRoute.Policies"], asked["OfRoute.Auth"] = true, true, true
	for _, k := range router.Keys() {
		if k.Example == "" || k.Name == "policies" || k.Name == "auth" {
			continue
		}
		tags := []string{"ingress.host=a.example.org"}
		if k.With != "" {
			tags = append(tags, "ingress."+k.With)
		}
		without, explained := parseOne(t, tags), explain(t, tags)
		tags = append(tags, "ingress."+k.Name+"="+k.Example)
		with := parseOne(t, tags)
		route := changed(with.Options.OfRoute, without.Options.OfRoute)
		if instance := changed(with.Instance.OfInstance, without.Instance.OfInstance); !route && !instance {
			continue
		}
		if lines := explain(t, tags); slices.Equal(lines, explained) {
			t.Errorf("/explain does not say what %s=%s does: %q", k.Name, k.Example, lines)
		}
		if !strings.Contains(string(document), "`"+k.Name+"`") {
			t.Errorf("docs/policies.md does not have `%s`", k.Name)
		}
	}
	for _, settings := range []any{policy.OfRoute{}, policy.OfInstance{}} {
		for field := range reflect.TypeOf(settings).Fields() {
			if name := reflect.TypeOf(settings).Name() + "." + field.Name; !asked[name] {
				t.Errorf("no key sets %s", name)
			}
		}
	}
}

// TestExamplesOfPolicies: the tags in docs/policies.md mean what it says, and where it
// says what becomes of a path, that is so.
func TestExamplesOfPolicies(t *testing.T) {
	document, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	wide := regexp.MustCompile(`   +`)
	tried := 0
	for line := range strings.Lines(string(document)) {
		if line = strings.TrimRight(line, "\n"); !strings.HasPrefix(line, "ingress.") {
			continue
		}
		parts := wide.Split(strings.TrimSpace(line), 2)
		route := routeOf(t, []string{"ingress.host=a.example.org", parts[0]})
		if len(parts) == 1 {
			continue
		}
		came, want, _ := strings.Cut(parts[1], "->")
		want, _, _ = strings.Cut(strings.TrimSpace(want), ",")
		path, query, _ := strings.Cut(strings.TrimSpace(came), "?")
		f := &policy.Forward{
			Request: asked{&router.Query{Path: []byte(path), RawQuery: []byte(query)}},
			Head:    &wire.OutgoingRequest{}, Path: []byte(path), Values: &wire.Values{},
		}
		route.Pool.Members()[0].Policies.Forward(f)
		if string(f.Head.Target) != want {
			t.Errorf("%s sends %s, want %s", line, f.Head.Target, want)
		}
		tried++
	}
	if tried < 4 {
		t.Errorf("%d examples of paths", tried)
	}
}

// explain is what /explain says of the policies of a route with these tags.
func explain(t *testing.T, tags []string) []string {
	t.Helper()
	r := routeOf(t, tags)
	var instances []*policy.List
	for _, m := range r.Pool.Members() {
		instances = append(instances, m.Policies)
	}
	return policy.Explain(r.Policies, instances)
}

func parseOne(t *testing.T, tags []string) router.Definition {
	t.Helper()
	all, problems := router.ParseTags("ingress", tags)
	if len(problems) > 0 || len(all) != 1 {
		t.Fatalf("%v: %v", tags, problems)
	}
	return all[0]
}

// exampleCatalog has what the examples of the keys name.
func exampleCatalog() *policy.Catalog {
	return policy.NewCatalog([]*policy.Named{{Name: "admin"}, {Name: "lan"}}, []*policy.Auth{{Name: "corp", Check: nobody("corp")}}, nil)
}

// routeOf is the route of an instance with these tags.
func routeOf(t *testing.T, tags []string) *router.Route {
	t.Helper()
	table := router.NewRouter()
	b, err := router.NewBuilder(table, router.Options{
		Registry: upstream.NewRegistry(upstream.RegistryOptions{}), Catalog: exampleCatalog(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	key := discovery.Key{Namespace: "default", Name: "web"}
	b.Update(&discovery.Snapshot{Services: map[discovery.Key]*discovery.Service{key: {Key: key, Instances: []*discovery.Instance{{
		ID: "1", Namespace: "default", Service: "web", Address: "10.0.0.1", Port: 80, Tags: tags, Created: 1, Modified: 1,
		Sidecar: &discovery.Sidecar{ID: "1-sidecar", Address: "10.0.0.1", Port: 21000, Service: "web", Datacenter: "dc1"},
	}}}}})
	routes := table.Current().Routes()
	if len(routes) != 1 || len(routes[0].Pool.Members()) != 1 {
		t.Fatalf("%v make %v, refused are %v", tags, routes, table.Current().Rejections())
	}
	return routes[0]
}

// TestDocumentHasEveryKey compares the table in docs/tags.md with the grammar.
func TestDocumentHasEveryKey(t *testing.T) {
	var table strings.Builder
	table.WriteString("| key | value | meaning | default |\n| --- | --- | --- | --- |\n")
	for _, k := range router.Keys() {
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", k.Name, k.Value, k.Meaning, k.Default)
	}
	testdoc.HoldSection(t, "../docs/tags.md", "keys", table.String(), *update)
}
