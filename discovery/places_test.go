package discovery_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// nomadPlace is a simulated agent.
type nomadPlace struct {
	agent *agent
	held  map[string]discovery.Instance
}

func newNomadPlace(t *testing.T) place {
	return &nomadPlace{newAgent(t, nomadsim.Options{}), make(map[string]discovery.Instance)}
}

func (p *nomadPlace) ordered() bool                                { return true }
func (p *nomadPlace) away(t *testing.T) (back func())              { return p.agent.away(t) }
func (p *nomadPlace) told(i discovery.Instance) discovery.Instance { return i }

func (p *nomadPlace) source(t *testing.T) discovery.Source {
	all, err := discovery.NewWatchers(discovery.WatcherOptions{Client: newClient(t, nomad.Options{Address: p.agent.url})})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

func (p *nomadPlace) set(t *testing.T, all ...discovery.Instance) {
	next := make(map[string]discovery.Instance)
	for _, i := range all {
		next[i.ID] = i
		if !reflect.DeepEqual(p.held[i.ID], i) {
			p.agent.Register(registrationOf(&i))
		}
	}
	for id, i := range p.held {
		if _, stays := next[id]; !stays {
			p.agent.Deregister(i.Namespace, id)
		}
	}
	p.held = next
}

// keptPlace is a simulated agent whose snapshots pass through a cache.
type keptPlace struct{ place }

func newKeptPlace(t *testing.T) place { return keptPlace{newNomadPlace(t)} }

func (p keptPlace) source(t *testing.T) discovery.Source {
	c, err := discovery.NewCache(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Keep(p.place.source(t))
}

// filePlace is a file of static instances, written like by an operator who has copied
// what Nomad prints, with its indexes.
type filePlace struct{ path string }

func newFilePlace(t *testing.T) place {
	return &filePlace{filepath.Join(t.TempDir(), "services.json")}
}

func (p *filePlace) ordered() bool                                { return false }
func (p *filePlace) told(i discovery.Instance) discovery.Instance { return i }

func (p *filePlace) source(t *testing.T) discovery.Source {
	f, err := discovery.NewFile(discovery.FileOptions{Path: p.path, Every: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (p *filePlace) set(t *testing.T, all ...discovery.Instance) {
	regs := []nomad.Registration{}
	for _, i := range all {
		r := registrationOf(&i)
		r.CreateIndex, r.ModifyIndex = 7, 8
		regs = append(regs, r)
	}
	text, err := json.Marshal(regs)
	if err == nil {
		err = os.WriteFile(p.path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(p.path+".new", p.path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p *filePlace) away(t *testing.T) (back func()) {
	if err := os.Rename(p.path, p.path+".away"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(p.path+".away", p.path); err != nil {
			t.Fatal(err)
		}
	}
}

// registrationOf is an instance as Nomad registers it.
func registrationOf(i *discovery.Instance) nomad.Registration {
	return nomad.Registration{ID: i.ID, ServiceName: i.Service, Namespace: i.Namespace, NodeID: i.Node, Datacenter: i.Datacenter,
		JobID: i.Job, AllocID: i.Alloc, Tags: i.Tags, Address: i.Address, Port: i.Port}
}
