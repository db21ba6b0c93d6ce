package router

import (
	"strings"
	"testing"

	"serai/discovery"
)

// TestIncompleteAddress: what to write in place of an address that lacks something depends on where
// the instance is registered.
func TestIncompleteAddress(t *testing.T) {
	const job, consul, file = "network block", "registration in Consul", "file of --services"
	for name, c := range map[string]struct {
		instance discovery.Instance
		where    string
	}{
		"Nomad":          {discovery.Instance{Namespace: "default", Alloc: "a", Created: 1}, job},
		"Nomad's Consul": {discovery.Instance{Namespace: discovery.ConsulNamespace, Alloc: "a", Created: 1}, job},
		"Consul":         {discovery.Instance{Namespace: discovery.ConsulNamespace, Created: 1}, consul},
		"file":           {discovery.Instance{Namespace: "default"}, file},
	} {
		i := c.instance
		i.Address = "10.0.0.1"
		noPort := incomplete(&i)
		i.Address, i.Port = "", 80
		noAddress := incomplete(&i)
		i.Address = "10.0.0.1"
		if whole := incomplete(&i); whole != nil {
			t.Errorf("%s: a whole address is refused: %v", name, whole)
		}
		for what, f := range map[string]*flaw{"port": noPort, "address": noAddress} {
			if f == nil || !strings.Contains(f.why, what) || !strings.Contains(f.instead, c.where) || c.where != job && strings.Contains(f.why+f.instead, "Nomad") {
				t.Errorf("%s, no %s: %+v, want advice about the %s", name, what, f, c.where)
			}
		}
	}
	r := notKept(&discovery.Service{Key: discovery.Key{Namespace: discovery.ConsulNamespace, Name: "web"}, Refused: &discovery.Refused{Quota: "registration-bytes-service"}})
	if !strings.HasPrefix(r.Why, "Consul's answer") {
		t.Errorf("an answer of Consul that is too long: %s", r.Why)
	}
}
