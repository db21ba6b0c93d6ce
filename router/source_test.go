package router_test

import (
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
)

// ofConsul makes an instance of a service in Consul; index is that of its registration.
func ofConsul(service, id string, index uint64, tags ...string) *discovery.Instance {
	return &discovery.Instance{
		ID: id, Service: service, Namespace: discovery.ConsulNamespace, Node: "n1", Tags: tags, Address: "10.0.0.2", Port: 1000,
		Created: 1<<52 + index, Modified: 1<<52 + index,
	}
}

func (w *world) setInstances(instances ...*discovery.Instance) {
	key := instances[0].Key()
	w.known[key] = &discovery.Service{Key: key, Instances: instances}
	w.builder.Update(&discovery.Snapshot{Services: w.known, Index: w.index})
}

// TestTwoSources: of one host in Nomad and in Consul, Nomad's is served wherever nobody has
// recorded another order, whichever came first and whatever their indexes are; the
// rejection names the source. The recorded order decides otherwise.
func TestTwoSources(t *testing.T) {
	for _, nomadFirst := range []bool{false, true} {
		w := newWorld(t)
		w.index = 1000
		if nomadFirst {
			w.set("web", "one,"+a)
		}
		w.setInstances(ofConsul("web", "n1/one", 5, a))
		if !nomadFirst {
			if r := w.lookup("a.example"); r == nil || r.Namespace != discovery.ConsulNamespace {
				t.Fatalf("alone, Consul's service has no route: %+v", r)
			}
			w.set("web", "one,"+a)
		}
		if r := w.lookup("a.example"); r == nil || r.Namespace != "default" || len(r.Pool.Members()) != 1 {
			t.Errorf("Nomad first %v: the host goes to %+v", nomadFirst, r)
		}
		rejections := w.router.Current().Rejections()
		if len(rejections) != 1 || !strings.HasPrefix(rejections[0].String(), "consul.default/web: ") || rejections[0].Holder != "namespace default" {
			t.Errorf("Nomad first %v: rejected is %v, held by %q", nomadFirst, rejections, rejections[0].Holder)
		}
		w.builder.Agree(router.Agreement{"a.example host": {
			{Key: discovery.Key{Namespace: discovery.ConsulNamespace, Name: "*"}}, {Key: discovery.Key{Namespace: "default", Name: "*"}},
		}}, "")
		if r := w.lookup("a.example"); r == nil || r.Namespace != discovery.ConsulNamespace {
			t.Errorf("Nomad first %v: as it is recorded, the host would not go to %+v", nomadFirst, r)
		}
	}
}

// TestUnfitKeepsItsClaims: an instance that its source takes for unfit takes no requests;
// the route stays, and says why.
func TestUnfitKeepsItsClaims(t *testing.T) {
	w := newWorld(t)
	i := ofConsul("web", "n1/one", 5, a)
	w.setInstances(i)
	before := w.lookup("a.example")
	ill := *i
	ill.Unfit = "critical in Consul"
	w.setInstances(&ill)
	r := w.lookup("a.example")
	if r == nil || r.Lingers() || len(r.Pool.Members()) != 1 || r.Pool.Members()[0].Weight != 0 || r.Pool.Room() != before.Pool.Room() {
		t.Fatalf("the route is %+v", r)
	}
	if says := r.Pool.Room().Readiness(); !strings.Contains(says, "10.0.0.2:1000 is critical in Consul") {
		t.Errorf("its room says %q", says)
	}
	w.setInstances(i)
	if m := w.lookup("a.example").Pool.Members(); m[0].Weight != 100 {
		t.Errorf("well again, its weight is %d", m[0].Weight)
	}
}

// TestNodeInConsul: a node has a name in Consul, which is not its ID in Nomad. What is
// registered at the loopback of that node is reached, and near; what is at that of another
// one is neither, nor is it where the name is not known.
func TestNodeInConsul(t *testing.T) {
	for _, c := range []struct {
		options router.Options
		taken   bool
		advice  string
	}{
		{router.Options{Node: "id-1", ConsulNode: "n1"}, true, ""},
		{router.Options{ConsulNode: "n1"}, true, ""},
		{router.Options{}, true, ""},
		{router.Options{Node: "id-1", ConsulNode: "n2"}, false, "an address that other nodes reach"},
		{router.Options{ConsulNode: "n2"}, false, "an address that other nodes reach"},
		{router.Options{Node: "n1", ConsulNode: "n2"}, false, "an address that other nodes reach"},
		{router.Options{Node: "id-1"}, false, "--consul-node"},
	} {
		w := newWorldWith(t, c.options)
		i := ofConsul("web", "n1/one", 5, a)
		i.Address = "127.0.0.1"
		w.setInstances(i)
		if taken := w.lookup("a.example") != nil; taken != c.taken {
			t.Errorf("Node %q, ConsulNode %q: an instance at the loopback of n1 is reached: %v", c.options.Node, c.options.ConsulNode, taken)
		}
		if r := w.router.Current().Rejections(); !c.taken && (len(r) != 1 || !strings.Contains(r[0].Instead, c.advice)) {
			t.Errorf("Node %q, ConsulNode %q: refused is %v", c.options.Node, c.options.ConsulNode, r)
		}
	}
	// A node of Consul cannot pass for that of Nomad with its name.
	w := newWorldWith(t, router.Options{Node: "id-1", ConsulNode: "n1"})
	i := ofConsul("web", "id-1/one", 5, a)
	i.Node, i.Address = "id-1", "127.0.0.1"
	w.setInstances(i)
	if w.lookup("a.example") != nil {
		t.Error("a node of Consul with the ID of Nomad's is taken for this one")
	}
}

// TestWeightOfTheSource: tags and source both count.
func TestWeightOfTheSource(t *testing.T) {
	for _, c := range []struct {
		tag    string
		source int
		want   int
	}{{"", 0, 100}, {"", 1000, 1000}, {"", 1, 1}, {"50", 1000, 500}, {"1", 1, 1}, {"0", 1000, 0}, {"1000", 1000, 1000}} {
		w := newWorld(t)
		tags := []string{a}
		if c.tag != "" {
			tags = append(tags, "ingress.weight="+c.tag)
		}
		i := ofConsul("web", "n1/one", 5, tags...)
		i.Weight = c.source
		w.setInstances(i)
		if got := w.lookup("a.example").Pool.Members()[0].Weight; got != c.want {
			t.Errorf("tag %q and %d in Consul make %d, want %d", c.tag, c.source, got, c.want)
		}
	}
}

// TestConsulsOwnPorts: what is registered in Consul does not publish Consul.
func TestConsulsOwnPorts(t *testing.T) {
	w := newWorld(t)
	for _, port := range []int{8300, 8301, 8302, 8500, 8501, 8502, 8503, 8600, 4646} {
		i := ofConsul("web", "n1/one", 5, a)
		i.Port = port
		w.setInstances(i)
		if all := w.router.Current().Rejections(); len(all) != 1 || !strings.Contains(all[0].Why, "own") {
			t.Errorf("port %d: %v", port, all)
		}
	}
}
