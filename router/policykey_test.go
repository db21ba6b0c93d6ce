package router

import (
	"reflect"
	"testing"
)

// TestEveryKeySaysWhetherAPolicyMayGiveIt: a key of policies stands in policy blocks, or
// says of itself why not. What is said of a whole list of keys is for other keys.
func TestEveryKeySaysWhetherAPolicyMayGiveIt(t *testing.T) {
	shared := make(map[string]int)
	for _, k := range keys() {
		shared[k.notNamed]++
	}
	parsed := func(k *key, value string) *draft {
		d := &draft{Definition: newDefinition("a"), redirectStatus: 308}
		if f := k.parse(d, value); f != nil {
			t.Fatalf("the example of %s is refused: %s", k.Name, f.why)
		}
		return d
	}
	for _, k := range keys() {
		if (k.named == never) != (k.notNamed != "") {
			t.Errorf("%s says both, or nothing, about policy blocks", k.Name)
		}
		if k.Example == "" {
			continue // what a route claims
		}
		is, empty := parsed(&k, k.Example), newDefinition("a")
		polices := !reflect.DeepEqual(is.Options.OfRoute, empty.Options.OfRoute) || !reflect.DeepEqual(is.Instance.OfInstance, empty.Instance.OfInstance)
		if polices && k.named == never && shared[k.notNamed] > 1 {
			t.Errorf("%s sets a policy: let it stand in policy blocks, or say of it why not", k.Name)
		}
		if k.named == never {
			continue
		}
		if p, problems := NewGrammar("ingress").ParsePolicy("a", settingsOf(&k)); len(problems) > 0 || reflect.DeepEqual(p.Route, empty.Options.OfRoute) && reflect.DeepEqual(p.Instance, empty.Instance.OfInstance) {
			t.Errorf("a policy block with %s makes %+v, %v", k.Name, p, problems)
		}
	}
}

// settingsOf gives a key, and what it needs, their examples.
func settingsOf(k *key) []Setting {
	g := NewGrammar("ingress")
	settings := []Setting{{k.Name, []string{k.Example}}}
	if of := g.group(k.Name); of != k.Name {
		settings = append(settings, Setting{of, []string{g.keys[of].Example}})
	}
	return settings
}
