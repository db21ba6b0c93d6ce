package discovery_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"serai/discovery"
)

// TestCacheOfAnotherVersion reads what an older serai wrote, whose instances were
// Nomad's registrations, and checks that such a serai can read what is written now.
func TestCacheOfAnotherVersion(t *testing.T) {
	const kept = `{"version":1,"index":42,"read":"2026-01-02T03:04:05Z","services":[
{"ID":"_nomad-task-1","ServiceName":"web","Namespace":"default","NodeID":"node-1","Datacenter":"dc1","JobID":"shop","AllocID":"alloc-1","Tags":["ingress.host=a.example.org"],"Address":"10.0.0.1","Port":8080,"CreateIndex":7,"ModifyIndex":9}
]}
`
	want := discovery.Instance{
		ID: "_nomad-task-1", Namespace: "default", Service: "web", Job: "shop", Alloc: "alloc-1", Node: "node-1", Datacenter: "dc1",
		Address: "10.0.0.1", Port: 8080, Tags: []string{"ingress.host=a.example.org"}, Created: 7, Modified: 9,
	}
	dir := t.TempDir()
	c, err := discovery.NewCache(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "services.json")
	if err := os.WriteFile(path, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	all, _ := discovery.ParseNamespaces(nil)
	s, err := c.Load(all, "ingress")
	if err != nil {
		t.Fatal(err)
	}
	service := s.Services[want.Key()]
	if service == nil || len(service.Instances) != 1 || !reflect.DeepEqual(*service.Instances[0], want) || s.Index != 42 {
		t.Errorf("the cache gives back %+v", s)
	}
	s.Origin = discovery.OriginLive
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.Save(s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err == nil {
		t.Error("Run returned no error")
	}
	again, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var old, new any
	if err := errors.Join(json.Unmarshal([]byte(kept), &old), json.Unmarshal(again, &new)); err != nil || !reflect.DeepEqual(old, new) {
		t.Errorf("the cache is written as %s, %v; want %s", again, err, kept)
	}
	if s.Read != time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) {
		t.Errorf("read at %v", s.Read)
	}
}
