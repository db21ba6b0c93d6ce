package router_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"serai/discovery"
	"serai/internal/testdoc"
	"serai/policy"
	"serai/router"
	"serai/upstream"
)

// shownApart are the keys that /routes shows in separate fields.
var shownApart = []string{"host", "path", "path-exact", "method", "header", "query", "priority", "class", "weight", "canary"}

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
		for key, word := range shown {
			again = append(again, "ingress."+key+"="+word)
		}
		if got := parseOne(t, again); !reflect.DeepEqual(got.Options, want.Options) || !reflect.DeepEqual(got.Instance, want.Instance) {
			t.Errorf("%v is shown as %v\n%+v\n%+v, want\n%+v\n%+v", tags, again, got.Options, got.Instance, want.Options, want.Instance)
		}
	}
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
