package nomad

import (
	"net/http"
	"strconv"
	"time"
)

// Meta is what an agent says about its answer.
type Meta struct {
	// Index is the index of the whole table, over all namespaces. Use it as Query.Index
	// to wait for the next change of any of them. It may go back after a restore or
	// between servers: compare before relying on it.
	Index uint64
	// LastContact is how long ago the server that answered heard from the
	// leader; 0 when the leader answered.
	LastContact time.Duration
	// KnownLeader says whether it knows a leader.
	KnownLeader bool
}

// readMeta reads the X-Nomad headers. A list without an index did not come
// from an agent.
func readMeta(r *request, h http.Header) (Meta, error) {
	index, err := strconv.ParseUint(h.Get("X-Nomad-Index"), 10, 64)
	if err != nil {
		e := insane(r, "the answer's X-Nomad-Index is %q, not a number", excerpt([]byte(h.Get("X-Nomad-Index")), r.token))
		e.Advice = "an agent sends one: does NOMAD_ADDR lead to something else, or to a proxy that drops headers?"
		return Meta{}, e
	}
	m := Meta{Index: index, KnownLeader: h.Get("X-Nomad-KnownLeader") == "true"}
	if ms, err := strconv.ParseUint(h.Get("X-Nomad-LastContact"), 10, 31); err == nil {
		m.LastContact = time.Duration(ms) * time.Millisecond
	}
	return m, nil
}
