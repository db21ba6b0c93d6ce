package router_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/discovery"
	"serai/policy"
	"serai/router"
)

// elsewhere are the ways to write a guard for a route other than the one that is meant.
var elsewhere = []string{"colon", "other route", "unnamed route", "no route name", "two dots", "other prefix", "near prefix"}

// guards are the keys that stand between a client and an instance: those that a policy
// may give, and those that name what the operator's file has.
func guards() (names []string) {
	for _, k := range router.PolicyKeys() {
		names = append(names, k.Name)
	}
	for _, name := range []string{"policies", "auth"} {
		if slices.ContainsFunc(router.Keys(), func(k router.Key) bool { return k.Name == name }) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TestHalfWrittenGuardIsNeverOpen writes each key of a policy wrong in each way, as a
// tag and as a setting of a policy: the route is refused.
func TestHalfWrittenGuardIsNeverOpen(t *testing.T) {
	wrong := map[string]func(tag, example string) []string{
		"without value":       func(tag, _ string) []string { return []string{tag} },
		"empty":               func(tag, _ string) []string { return []string{tag + "="} },
		"blank":               func(tag, _ string) []string { return []string{tag + "=  "} },
		"control character":   func(tag, example string) []string { return []string{tag + "=" + example + "\x01"} },
		"line break":          func(tag, example string) []string { return []string{tag + "=" + example + "\r\nX-A: b"} },
		"garbage":             func(tag, _ string) []string { return []string{tag + "=(((("} },
		"too long":            func(tag, example string) []string { return []string{tag + "=" + example + strings.Repeat("x", 5000)} },
		"upper case":          func(tag, example string) []string { return []string{strings.ToUpper(tag) + "=" + example} },
		"misspelled":          func(tag, example string) []string { return []string{tag + "e=" + example} },
		"blank before equals": func(tag, example string) []string { return []string{tag + " =" + example} },
		"colon":               func(tag, example string) []string { return []string{tag + ":" + example} },
	}
	for _, k := range router.Keys() {
		if !slices.Contains(guards(), k.Name) {
			continue
		}
		for way, tags := range wrong {
			if slices.Contains(elsewhere, way) && !k.Guard {
				continue // which refuses the other route
			}
			w := newWorldWith(t, router.Options{Catalog: exampleCatalog()})
			tag := "ingress.a." + k.Name
			if way == "upper case" {
				tag = k.Name
			}
			made := tags(tag, k.Example)
			if way == "upper case" {
				made[0] = "ingress.a." + made[0]
			}
			if k.With != "" {
				made = append(made, "ingress.a."+k.With)
			}
			w.set("web", "one,ingress.a.host=a.example")
			if w.lookup("a.example") == nil {
				t.Fatal("a route without guard is refused")
			}
			w.setTags("web", append(made, "ingress.a.host=a.example"))
			if r := w.lookup("a.example"); open(r) {
				t.Errorf("%s, %s: %q makes a route with the policies %q", k.Name, way, made, r.ExplainPolicies())
			}
			if rejections := w.router.Current().Rejections(); len(rejections) == 0 {
				t.Errorf("%s, %s: %q is refused by nobody", k.Name, way, made)
			}
		}
	}
	for _, k := range router.PolicyKeys() {
		for _, values := range [][]string{nil, {}, {""}, {" "}, {k.Example + "\x01"}, {"(((("}, {k.Example, ""}, {k.Example, "(((("}} {
			settings := []router.Setting{{Key: k.Name, Values: values}}
			if with, value, ok := strings.Cut(k.With, "="); ok {
				settings = append(settings, router.Setting{Key: with, Values: []string{value}})
			}
			if p, problems := router.NewGrammar("ingress").ParsePolicy("a", settings); p != nil || len(problems) == 0 {
				t.Errorf("%s = %q makes the policy %+v, %v", k.Name, values, p, problems)
			}
		}
	}
}

// open reports whether a route may answer anything but that it is closed.
func open(r *router.Route) bool {
	if r == nil {
		return false
	}
	var reply policy.Reply
	answered := r.Policies.MayAnswer() && r.Policies.Request(nil, &reply)
	return !answered || reply.Status != 503 || reply.Reason != policy.ErrGuardRefused.Code
}

// TestMissingNameIsNeverOpen names what is not there, not for the namespace, or not
// whole, in each way.
func TestMissingNameIsNeverOpen(t *testing.T) {
	none := &policy.Auth{Name: "none"} // which checks nothing
	needs := func(auth string) *policy.Named {
		return &policy.Named{Name: "needs", Route: policy.OfRoute{Auth: auth}}
	}
	ops := namespaces(t, "ops")
	all := namespaces(t, "*")
	for name, c := range map[string]struct {
		catalog *policy.Catalog
		tag     string
	}{
		"no catalog":                        {nil, "policies=a"},
		"empty catalog":                     {policy.NewCatalog(nil, nil, nil), "policies=a"},
		"unknown":                           {catalogOf(t, "policy b"), "policies=a"},
		"one of two unknown":                {catalogOf(t, "policy b"), "policies=b,a"},
		"other case":                        {catalogOf(t, "policy a"), "policies=A"},
		"not for the namespace":             {catalogOf(t, "policy a ops"), "policies=a"},
		"policy with unknown auth":          {policy.NewCatalog([]*policy.Named{needs("gone")}, nil, nil), "policies=needs"},
		"policy with an auth without check": {policy.NewCatalog([]*policy.Named{needs("none")}, []*policy.Auth{none}, nil), "policies=needs"},
		"unknown default":                   {policy.NewCatalog(nil, nil, []policy.Default{{For: all, Policies: []string{"gone"}}}), ""},
		"default with unknown auth":         {policy.NewCatalog([]*policy.Named{needs("gone")}, nil, []policy.Default{{For: all, Policies: []string{"needs"}}}), ""},
		"name of an auth":                   {policy.NewCatalog(nil, []*policy.Auth{{Name: "a", Check: nobody("a")}}, nil), "policies=a"},
		"unknown auth":                      {policy.NewCatalog(nil, nil, nil), "auth=a"},
		"auth of nobody here":               {policy.NewCatalog(nil, []*policy.Auth{{Name: "a", For: ops, Check: nobody("a")}}, nil), "auth=a"},
		"auth without check":                {policy.NewCatalog(nil, []*policy.Auth{{Name: "a"}}, nil), "auth=a"},
		"auth with the name of a policy":    {catalogOf(t, "policy a"), "auth=a"},
	} {
		w := newWorldWith(t, router.Options{Catalog: c.catalog})
		tags := []string{"ingress.host=a.example"}
		if c.tag != "" {
			tags = append(tags, "ingress."+c.tag)
		}
		w.setTags("web", tags)
		if r := w.lookup("a.example"); open(r) {
			t.Errorf("%s: a route with the policies %q", name, r.ExplainPolicies())
		}
		if rejections := w.router.Current().Rejections(); len(rejections) != 1 || rejections[0].Instead == "" {
			t.Errorf("%s: the rejections are %v", name, rejections)
		}
	}
}

// setTags makes one instance of a service.
func (w *world) setTags(service string, tags []string) {
	w.index++
	key := discovery.Key{Namespace: "default", Name: service}
	w.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{{
		ID: "one", Service: service, Namespace: "default", Alloc: "one", Tags: tags, Address: "10.0.0.1", Port: 1000, Created: w.index, Modified: w.index,
	}}}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
}

// TestPoliciesOfAllPlaces: an auth of the tags, of each named policy and of the default
// are all asked, behind the redirect to https and before any other.
func TestPoliciesOfAllPlaces(t *testing.T) {
	named := func(name string) *policy.Named { return &policy.Named{Name: name, Route: policy.OfRoute{Auth: name}} }
	auth := func(name string) *policy.Auth { return &policy.Auth{Name: name, Check: nobody(name)} }
	secure := &policy.Named{Name: "secure", Route: policy.OfRoute{Redirect: &policy.Redirect{Status: 308, HTTPS: true}}}
	moved := &policy.Named{Name: "moved", Route: policy.OfRoute{Redirect: &policy.Redirect{Status: 308, Parts: []policy.Part{{Literal: "https://b.example"}}}}}
	w := newWorldWith(t, router.Options{Catalog: policy.NewCatalog([]*policy.Named{secure, moved, named("x"), named("y"), named("z")}, []*policy.Auth{auth("x"), auth("y"), auth("z")},
		[]policy.Default{{For: namespaces(t, "def*"), Policies: []string{"z", "x"}}})})
	w.setTags("web", []string{"ingress.host=a.example", "ingress.policies=moved,secure,y,x,z"})
	got := w.lookup("a.example").ExplainPolicies()
	want := []string{"redirect: plain HTTP is answered 308, with the same URL over https (policy secure)", "auth: y lets nobody through (policy y)", "auth: z lets nobody through (policy z, by default)", "auth: x lets nobody through (policy x, by default)",
		"redirect: every request is answered 308, with https://b.example (policy moved)"}
	if !slices.Equal(got, want) {
		t.Errorf("the policies are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if all := fmt.Sprint(w.lookup("a.example").Named()); all != "[{moved false} {secure false} {y false} {z true} {x true}]" {
		t.Errorf("the named policies are %v", all)
	}
}

// TestConfigure replaces what the operator's file says: for routes with instances, for
// one that lingers, for one that was refused, and for who owns a host.
func TestConfigure(t *testing.T) {
	w := newWorld(t)
	configure := func(c router.Config) {
		t.Helper()
		if err := w.builder.Configure(c); err != nil {
			t.Fatal(err)
		}
	}
	w.set("web", "one,ingress.host=a.example")
	w.set("gone", "two,ingress.host=gone.example,ingress.policies=lan")
	w.set("wild", "three,ingress.host=*.wild.example")
	configure(router.Config{Catalog: catalogOf(t, "policy lan", "setting hsts = max-age=1")})
	gone := w.lookup("gone.example")
	if gone == nil || gone.Policies == nil || w.lookup("a.example").Policies != nil {
		t.Fatalf("the policy makes %v", gone)
	}
	w.set("gone")
	before := w.lookup("a.example")

	configure(router.Config{Catalog: catalogOf(t, "policy lan", "setting allow = 192.0.2.1", "default default lan"), Owners: map[string][]string{"other": {"x.wild.example"}}})
	after := w.lookup("a.example")
	if !after.Policies.MayAnswer() || after.Stats != before.Stats || after.CreateIndex != before.CreateIndex || after.Pool.Members()[0].Endpoint != before.Pool.Members()[0].Endpoint {
		t.Errorf("with the default the route is %+v, before it was %+v", after, before)
	}
	if after.Pool.Room() == before.Pool.Room() {
		t.Error("requests that wait pass without being asked")
	}
	if gone = w.lookup("gone.example"); gone == nil || !gone.Lingers() || !gone.Policies.MayAnswer() {
		t.Errorf("the lingering route is %+v", gone)
	}
	if w.lookup("x.wild.example") != nil || w.lookup("y.wild.example") == nil {
		t.Error("the new owner does not own its host, or more than that")
	}
	room := after.Pool.Room()
	configure(router.Config{Catalog: catalogOf(t, "policy lan", "setting allow = 192.0.2.1", "default default lan")})
	if w.lookup("x.wild.example") == nil || w.lookup("a.example").Pool.Room() != room {
		t.Error("the owner is gone and still owns, or requests are asked again by the same policies")
	}
	if err := w.builder.Configure(router.Config{Owners: map[string][]string{"x": {"http://"}}}); err == nil || !w.lookup("a.example").Policies.MayAnswer() {
		t.Errorf("a wrong configuration is applied: %v", err)
	}

	configure(router.Config{})
	if open(w.lookup("gone.example")) {
		t.Error("a lingering route goes on without its guard")
	}
	if r := w.lookup("a.example"); r == nil || r.Policies != nil || r.Pool.Room() != room {
		t.Errorf("without a configuration the route is %+v", r)
	}
	w.now = w.now.Add(time.Hour)
	w.builder.Expire()
	w.set("gone", "two,ingress.host=gone.example,ingress.policies=lan")
	if open(w.lookup("gone.example")) {
		t.Error("a route is served without its guard")
	}
	configure(router.Config{Catalog: catalogOf(t, "policy lan")})
	if !open(w.lookup("gone.example")) || len(w.router.Current().Rejections()) != 0 {
		t.Errorf("the route is refused although its policy is there: %v", w.router.Current().Rejections())
	}
}

// TestConfigureBeforeTheFirstSnapshot shows nobody an empty table.
func TestConfigureBeforeTheFirstSnapshot(t *testing.T) {
	w := newWorld(t)
	if err := w.builder.Configure(router.Config{Catalog: catalogOf(t, "policy lan", "setting allow = 192.0.2.1", "default default lan"), Owners: map[string][]string{"other": {"b.example"}}}); err != nil {
		t.Fatal(err)
	}
	w.set("web", "one,ingress.host=a.example")
	w.set("next", "two,ingress.host=b.example")
	if r := w.lookup("a.example"); !r.Policies.MayAnswer() || w.lookup("b.example") != nil {
		t.Errorf("the first table knows nothing of it: %+v", r)
	}
}
