package discovery

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"serai/consul"
)

// entryOf is an instance of web with checks in these states, all of its own.
func entryOf(id string, states ...string) consul.Entry {
	e := consul.Entry{
		Node:    consul.Node{Node: "n1", Address: "10.0.0.1", Datacenter: "dc1", TaggedAddresses: map[string]string{"wan": "192.0.2.1"}},
		Service: consul.Service{ID: id, Service: "web", Tags: []string{"ingress.host=a"}, Port: 80, Weights: consul.Weights{Passing: 1, Warning: 1}, CreateIndex: 7, ModifyIndex: 9},
	}
	for i, state := range states {
		e.Checks = append(e.Checks, consul.Check{Node: "n1", CheckID: fmt.Sprint("c", i), Status: state, ServiceID: id, ServiceName: "web"})
	}
	return e
}

func TestConsulInstances(t *testing.T) {
	plain := Instance{ID: "n1/1", Namespace: ConsulNamespace, Service: "web", Node: "n1", Datacenter: "dc1", Address: "10.0.0.1", Port: 80,
		Tags: []string{"ingress.host=a"}, Created: consulOrder + 7, Modified: consulOrder + 9}
	with := func(change func(*Instance)) []Instance {
		i := plain
		change(&i)
		return []Instance{i}
	}
	of := func(e consul.Entry, change func(*consul.Entry)) []consul.Entry {
		change(&e)
		return []consul.Entry{e}
	}
	unfit := func(why string) []Instance { return with(func(i *Instance) { i.Unfit = why }) }
	const alloc = "2d9d3a5c-0b1f-4f0b-9a3e-3f2b8a1c7d55"
	for name, c := range map[string]struct {
		options           ConsulOptions
		entries, sidecars []consul.Entry
		alone             bool
		want              []Instance
	}{
		"no checks":             {entries: []consul.Entry{entryOf("1")}, want: []Instance{plain}},
		"passing":               {entries: []consul.Entry{entryOf("1", "passing", "passing")}, want: []Instance{plain}},
		"warning":               {entries: []consul.Entry{entryOf("1", "passing", "warning")}, want: unfit("warning in Consul")},
		"warning is taken":      {options: ConsulOptions{Warning: true}, entries: []consul.Entry{entryOf("1", "warning")}, want: []Instance{plain}},
		"critical":              {entries: []consul.Entry{entryOf("1", "warning", "critical", "passing")}, want: unfit("critical in Consul")},
		"critical nevertheless": {options: ConsulOptions{Warning: true}, entries: []consul.Entry{entryOf("1", "critical", "warning")}, want: unfit("critical in Consul")},
		"a state nobody knows":  {entries: []consul.Entry{entryOf("1", "dubious")}, want: unfit("critical in Consul")},
		"maintenance": {entries: of(entryOf("1", "critical", "critical"), func(e *consul.Entry) { e.Checks[1].CheckID = "_service_maintenance:1" }),
			want: unfit("maintenance in Consul")},
		"maintenance of the node": {entries: of(entryOf("1", "critical"), func(e *consul.Entry) { e.Checks[0].CheckID, e.Checks[0].ServiceID = "_node_maintenance", "" }),
			want: unfit("maintenance in Consul")},
		"no weight for a warning": {options: ConsulOptions{Warning: true}, entries: of(entryOf("1", "warning"), func(e *consul.Entry) { e.Service.Weights.Warning = 0 }),
			want: unfit("warning in Consul")},
		"its own address": {entries: of(entryOf("1"), func(e *consul.Entry) { e.Service.Address = "10.0.0.2" }),
			want: with(func(i *Instance) { i.Address = "10.0.0.2" })},
		"a tagged address": {options: ConsulOptions{Address: "wan"}, entries: of(entryOf("1"), func(e *consul.Entry) {
			e.Service.Address, e.Service.TaggedAddresses = "10.0.0.2", map[string]consul.Address{"wan": {Address: "192.0.2.2", Port: 8080}}
		}), want: with(func(i *Instance) { i.Address, i.Port = "192.0.2.2", 8080 })},
		"a tagged address without a port": {options: ConsulOptions{Address: "wan"}, entries: of(entryOf("1"), func(e *consul.Entry) {
			e.Service.TaggedAddresses = map[string]consul.Address{"wan": {Address: "192.0.2.2"}}
		}), want: with(func(i *Instance) { i.Address = "192.0.2.2" })},
		"a tagged address of the node": {options: ConsulOptions{Address: "wan"}, entries: []consul.Entry{entryOf("1")},
			want: with(func(i *Instance) { i.Address = "192.0.2.1" })},
		"no address of that name": {options: ConsulOptions{Address: "lan"}, entries: []consul.Entry{entryOf("1")}, want: []Instance{plain}},
		"the node's is not that of a service elsewhere": {options: ConsulOptions{Address: "wan"}, entries: of(entryOf("1"), func(e *consul.Entry) { e.Service.Address = "10.0.0.2" }),
			want: with(func(i *Instance) { i.Address = "10.0.0.2" })},
		"a sidecar": {entries: of(entryOf("1"), func(e *consul.Entry) { e.Service.Kind = "connect-proxy" })},
		"registered by Nomad": {entries: []consul.Entry{entryOf("_nomad-task-" + alloc + "-group-web-web-http")},
			want: with(func(i *Instance) { i.ID, i.Alloc = "n1/_nomad-task-"+alloc+"-group-web-web-http", alloc })},
		"nearly registered by Nomad": {entries: []consul.Entry{entryOf("_nomad-task-x")}, want: with(func(i *Instance) { i.ID = "n1/_nomad-task-x" })},
		"keys in the meta": {entries: of(entryOf("1"), func(e *consul.Entry) {
			e.Service.Tags, e.Service.Meta = []string{"a", "ingress", "b"}, map[string]string{"ingress_host": "a", "ingress_api_max-body": "1m", "other": "x", "ingressive": "y"}
		}), want: with(func(i *Instance) { i.Tags = []string{"a", "b", "ingress.api.max-body=1m", "ingress.host=a"} })},
		"keys in the meta without the tag": {entries: of(entryOf("1"), func(e *consul.Entry) { e.Service.Meta = map[string]string{"ingress_host": "b"} }), want: []Instance{plain}},
		"told twice":                       {entries: []consul.Entry{entryOf("1"), entryOf("1")}, want: []Instance{plain}},
	} {
		c.options.Prefix = "ingress"
		var got []Instance
		for _, i := range c.options.instances(&consulListing{entries: c.entries, sidecars: c.sidecars}, c.alone) {
			got = append(got, *i)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n%+v, want\n%+v", name, got, c.want)
		}
	}
}

// TestConsulWeights: only what differs counts.
func TestConsulWeights(t *testing.T) {
	for _, c := range []struct {
		passing, warning, want []int
		state                  string
	}{
		{passing: []int{1, 1}, want: []int{0, 0}},
		{passing: []int{10, 10, 10}, want: []int{0, 0, 0}},
		{passing: []int{1, 3}, want: []int{333, 1000}},
		{passing: []int{1, 65535}, want: []int{1, 1000}},
		{passing: []int{0, 1}, want: []int{0, 0}}, // as it is where nobody gave one
		{passing: []int{-5, 2}, want: []int{500, 1000}},
		{passing: []int{1 << 62, 1 << 62, 1}, want: []int{1000, 1000, 1}},
		{passing: []int{10, 10}, warning: []int{1, 10}, state: "warning", want: []int{100, 1000}},
	} {
		var entries []consul.Entry
		for i, p := range c.passing {
			e := entryOf(fmt.Sprint(i), c.state)
			if c.state == "" {
				e = entryOf(fmt.Sprint(i))
			}
			if e.Service.Weights.Passing = p; c.warning != nil {
				e.Service.Weights.Warning = c.warning[i]
			}
			entries = append(entries, e)
		}
		o := ConsulOptions{Prefix: "ingress", Warning: true}
		var got []int
		for _, i := range o.instances(&consulListing{entries: entries}, false) {
			got = append(got, i.Weight)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestPositions: an index is told again, with its source.
func TestPositions(t *testing.T) {
	for _, index := range []uint64{0, 1, 1 << 40} {
		if got, ofConsul := Position(index); got != index || ofConsul {
			t.Errorf("%d of Nomad is %d, %v", index, got, ofConsul)
		}
		if got, ofConsul := Position(consulOrder + index); got != index || !ofConsul {
			t.Errorf("%d of Consul is %d, %v", index, got, ofConsul)
		}
	}
}

// TestConsulWeighsMany: a service with very many instances is weighed in a moment.
func TestConsulWeighsMany(t *testing.T) {
	all, shares := make([]*Instance, 300_000), make([]int, 300_000)
	for n := range all {
		all[n], shares[n] = &Instance{}, 1+n%2
	}
	ended := make(chan struct{})
	go func() { weigh(all, shares); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it takes more than half a minute")
	}
	if all[0].Weight != 500 || all[1].Weight != 1000 {
		t.Errorf("weights %d and %d", all[0].Weight, all[1].Weight)
	}
}
