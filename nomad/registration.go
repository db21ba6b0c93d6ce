// Package nomad answers: how do we talk to Nomad?
//
// Outside of tests it is the only importer of hashicorp/nomad/api, and uses only its
// TLS settings. Requests and answers are our own, because that client has no limits,
// swallows heartbeats, and reports a refused list as an empty one. In the contract
// suite of nomadsim that client is the reference, which must read every answer as this
// package does. All that is returned is plain data, so that no other package depends on
// Nomad's client.
package nomad

import "time"

// Registration is one instance of a service as Nomad lists it: the object of
// /v1/service/:name and of the events of topic Service.
// Source: https://developer.hashicorp.com/nomad/api-docs/services.
//
// It has no health and no weight. Address may be empty or a name and Port
// may be 0: such an instance cannot be routed to. Never modified once read.
type Registration struct {
	ID          string   `json:"ID"`
	ServiceName string   `json:"ServiceName"`
	Namespace   string   `json:"Namespace"`
	NodeID      string   `json:"NodeID"`
	Datacenter  string   `json:"Datacenter"`
	JobID       string   `json:"JobID"`
	AllocID     string   `json:"AllocID"`
	Tags        []string `json:"Tags"`
	Address     string   `json:"Address"`
	Port        int      `json:"Port"`
	CreateIndex uint64   `json:"CreateIndex"`
	ModifyIndex uint64   `json:"ModifyIndex"`
}

// ServiceStub is one row of /v1/services: a service's name and the union of
// the tags of its instances.
type ServiceStub struct {
	Namespace   string
	ServiceName string
	// Tags are not all where Cut is set: there are very many, or one is very long.
	Tags []string
	Cut  bool
}

// Query says how a list is read. The zero Query reads at once, from the
// leader, in the default namespace.
type Query struct {
	Namespace string
	// Index makes the read blocking: it returns once the table's index is
	// beyond it, or after Wait (about 5 minutes when zero).
	Index uint64
	Wait  time.Duration
	// Stale lets any server answer, not only the leader.
	Stale bool
	// Most is how many bytes of a service are read; beyond, it is ErrTooLong. Zero means
	// Limits.Answer.
	Most int64
}
