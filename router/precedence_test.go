package router_test

import (
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// TestWhyAClaimComesFirst: of two services with the same claim the refusal and the explanation
// say what decides between them, and call none older that is not.
func TestWhyAClaimComesFirst(t *testing.T) {
	const consul = 1 << 52 // where positions of what Consul lists begin
	for name, c := range map[string]struct {
		holder, other uint64 // when they were registered
		want          string
	}{
		"both in files":       {0, 0, "comes first by its name, since claims in files have no age"},
		"one in a file":       {0, 7, "is in the operator's file"},
		"one is older":        {7, 8, "is older"},
		"both equally old":    {7, 7, "comes first by its name, since both are equally old"},
		"one is in Consul":    {9, consul + 3, "is registered in Nomad, whose claims come first where nobody has recorded another order"},
		"both are in Consul":  {consul + 3, consul + 4, "is older"},
		"Consul and the same": {consul + 3, consul + 3, "comes first by its name, since both are equally old"},
	} {
		for _, condition := range []string{"", "ingress.query=a=1"} {
			routes := router.NewRouter()
			b, err := router.NewBuilder(routes, router.Options{Registry: upstream.NewRegistry(upstream.RegistryOptions{})})
			if err != nil {
				t.Fatal(err)
			}
			services := make(map[discovery.Key]*discovery.Service)
			for service, at := range map[string]uint64{"a": c.holder, "b": c.other} {
				tags := []string{"ingress.host=shop.example.org"}
				if condition != "" {
					tags = append(tags, condition)
					condition = "ingress.query=b=1"
				}
				key := discovery.Key{Namespace: "shop", Name: service}
				services[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{
					{ID: service, Namespace: "shop", Service: service, Address: "10.0.0.1", Port: 80, Tags: tags, Created: at, Modified: at},
				}}
			}
			b.Update(&discovery.Snapshot{Services: services, Index: 9})
			x := routes.Current().Explain(&router.Query{Host: []byte("shop.example.org"), Path: []byte("/"), RawQuery: []byte("a=1&b=1"), Method: []byte("GET")})
			if x.Winner != "shop/a/" || len(x.Candidates) != 2 {
				t.Errorf("%s: %q wins among %v", name, x.Winner, x.Candidates)
			}
			for _, one := range x.Candidates {
				newer := strings.HasPrefix(one.Why, "its claim is newer: ") && c.want == "is older" || strings.HasPrefix(one.Why, "it is registered in Consul, ")
				if !one.Wins && !strings.HasSuffix(one.Why, c.want) && (condition == "" || !newer) {
					t.Errorf("%s: the explanation says %q, want %q", name, one.Why, c.want)
				}
			}
			for _, refused := range routes.Current().Rejections() {
				if !strings.HasSuffix(refused.Why, "is held by shop/a, which "+c.want) {
					t.Errorf("%s: the refusal says %q, want %q", name, refused.Why, c.want)
				}
			}
			b.Close()
		}
	}
}
