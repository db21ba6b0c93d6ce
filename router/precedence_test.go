package router_test

import (
	"testing"

	"serai/discovery"
	"serai/router"
)

// TestWhyAClaimComesFirst: of two services with the same claim the refusal and the explanation
// say what decides between them, and call none older that is not. With conditions neither is
// refused, and the explanation of a request that meets both says it.
func TestWhyAClaimComesFirst(t *testing.T) {
	const (
		consul     = 1 << 52 // where positions of what Consul lists begin
		inRecord   = "comes first in the recorded order of claims"
		byName     = "comes first by its name, since both are equally old"
		inFiles    = "comes first by its name, since claims in files have no age"
		inFile     = "is in the operator's file"
		inNomad    = "is registered in Nomad, whose claims come first where nobody has recorded another order"
		notInNomad = "it is registered in Consul, and the other in Nomad, whose claims come first where nobody has recorded another order"
		beside     = "the claim of shop/a/ " // how an explanation begins where there are conditions
	)
	for name, c := range map[string]struct {
		holder, other uint64   // when they were registered
		recorded      []string // the order of claims, if one is recorded
		want          string   // of the refusal, and of an explanation
		conditional   string   // of an explanation where there are conditions
	}{
		"both in files":       {0, 0, nil, inFiles, beside + inFiles},
		"one in a file":       {0, 7, nil, inFile, beside + inFile},
		"one is older":        {7, 8, nil, "is older", "its claim is newer: index 8, after 7"},
		"both equally old":    {7, 7, nil, byName, beside + byName},
		"one is in Consul":    {9, consul + 3, nil, inNomad, notInNomad},
		"both are in Consul":  {consul + 3, consul + 4, nil, "is older", "its claim is newer: index 4, after 3"},
		"Consul and the same": {consul + 3, consul + 3, nil, byName, beside + byName},

		"recorded, one is older":            {7, 8, []string{"a", "b"}, inRecord, beside + inRecord},
		"recorded, one is newer":            {8, 7, []string{"a", "b"}, inRecord, beside + inRecord},
		"recorded, both equally old":        {7, 7, []string{"a", "b"}, inRecord, beside + inRecord},
		"recorded, the other is in Consul":  {9, consul + 3, []string{"a", "b"}, inRecord, beside + inRecord},
		"recorded, the holder is in Consul": {consul + 3, 9, []string{"a", "b"}, inRecord, beside + inRecord},
		"recorded, one in a file":           {0, 7, []string{"b", "a"}, inFile, beside + inFile},
		"only the holder is recorded":       {8, 7, []string{"a", "c"}, inRecord, beside + inRecord},
		"only others are recorded":          {7, 8, []string{"c", "d"}, "is older", "its claim is newer: index 8, after 7"},
	} {
		for _, conditions := range []bool{false, true} {
			table := contested(t, c.holder, c.other, c.recorded, conditions)
			x := table.Explain(&router.Query{Host: []byte("shop.example.org"), Path: []byte("/"), RawQuery: []byte("a=1&b=1"), Method: []byte("GET")})
			if x.Winner != "shop/a/" || len(x.Candidates) != 2 || x.Candidates[1].Wins {
				t.Errorf("%s: %q wins among %v", name, x.Winner, x.Candidates)
				continue
			}
			want, refused := c.conditional, 0
			if !conditions {
				want, refused = "the same host, path and conditions are held by shop/a, which "+c.want, 1
			}
			if got := x.Candidates[1].Why; got != want {
				t.Errorf("%s: the explanation says %q, want %q", name, got, want)
			}
			all := table.Rejections()
			if len(all) != refused {
				t.Errorf("%s: %d refusals, want %d: %v", name, len(all), refused, all)
			}
			for _, r := range all {
				if want := "host shop.example.org, path / is held by shop/a, which " + c.want; r.Why != want {
					t.Errorf("%s: the refusal says %q, want %q", name, r.Why, want)
				}
			}
		}
	}
}

// contested is a table in which services a and b, registered at these indexes, claim one host,
// with different conditions or without any, and an order of services is recorded for it.
func contested(t *testing.T, a, b uint64, recorded []string, conditions bool) *router.Table {
	_, builder := build(t, router.Options{})
	t.Cleanup(builder.Close)
	services := make(map[discovery.Key]*discovery.Service)
	claim := func(service string, at uint64) {
		tags := []string{"ingress.host=shop.example.org"}
		if conditions {
			tags = append(tags, "ingress.query="+service+"=1")
		}
		key := discovery.Key{Namespace: "shop", Name: service}
		services[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{
			{ID: service, Namespace: "shop", Service: service, Address: "10.0.0.1", Port: 80, Tags: tags, Created: at, Modified: at},
		}}
	}
	claim("a", a)
	claim("b", b)
	agreed := make(router.Agreement)
	if recorded != nil { // the claimants of a contest are those of services that are all in Nomad
		for i, service := range recorded {
			claim(service, uint64(i+1))
		}
		builder.Update(&discovery.Snapshot{Services: services, Index: 9})
		for _, contest := range builder.Contests() {
			for _, service := range recorded {
				for _, claimant := range contest.Claimants {
					if claimant.Name == service {
						agreed[contest.Name] = append(agreed[contest.Name], claimant)
					}
				}
			}
		}
		if len(agreed) == 0 {
			t.Fatal("no contest is to be recorded")
		}
		for _, service := range recorded {
			delete(services, discovery.Key{Namespace: "shop", Name: service})
		}
		claim("a", a)
		claim("b", b)
	}
	// A Builder that has not seen the services before keeps no claim of theirs.
	routes, builder := build(t, router.Options{Linger: -1})
	t.Cleanup(builder.Close)
	builder.Agree(agreed, "")
	builder.Update(&discovery.Snapshot{Services: services, Index: 9})
	return routes.Current()
}
