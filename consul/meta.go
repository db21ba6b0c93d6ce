package consul

import (
	"net/http"
	"strconv"
	"time"
)

// Query says how a list is read. The zero Query reads at once, as the leader knows it.
type Query struct {
	// Index makes the read blocking: it returns once the list's index is beyond it, or
	// after Wait (about 5 minutes when zero).
	Index uint64
	Wait  time.Duration
	// Stale lets any server answer, not only the leader.
	Stale bool
	// Most is how many bytes of a service's instances are read; beyond, it is ErrTooLong. Zero
	// means Limits.Answer.
	Most int64
	// Consistent has the leader answer once it has made sure that it is still one, and has read
	// its log: a server that has started anew may lead before that, and lists what was long ago.
	Consistent bool
}

// defaultWait is how long an agent holds a blocking query that does not say.
const defaultWait = 5 * time.Minute

// datacenter names the one that is asked about.
func (c *Client) datacenter(r *request) {
	if c.options.Datacenter != "" {
		r.params.Set("dc", c.options.Datacenter)
	}
}

// query sets the parameters of a Query.
func (c *Client) query(r *request, q Query) {
	c.datacenter(r)
	switch {
	case q.Stale:
		r.params.Set("stale", "")
	case q.Consistent:
		r.params.Set("consistent", "")
	}
	if q.Index == 0 {
		return
	}
	r.block(q)
}

// block makes r a blocking query.
func (r *request) block(q Query) {
	r.params.Set("index", strconv.FormatUint(q.Index, 10))
	r.wait = defaultWait
	if q.Wait > 0 {
		r.wait = q.Wait
		r.params.Set("wait", strconv.FormatInt(max(1, q.Wait.Milliseconds()), 10)+"ms")
	}
	// Agents add up to a sixteenth so that watchers do not all return at once.
	r.wait += r.wait/16 + time.Second
}

// Meta is what an agent says about its answer.
type Meta struct {
	// Index is that of the list: use it as Query.Index to wait for the next change. Other
	// changes may move it as well. It may go back after a restore, or between servers.
	Index uint64
	// Filtered says that the list lacks something which the token may not read. It is never
	// set in answers to requests without a token, in those that an agent has waited with,
	// and by agents older than 1.11.
	Filtered bool
	// Denies says that nothing may be read but what a policy grants.
	Denies bool
	// Size is the length of the answer in bytes.
	Size int
}

// noIndex is beyond all indexes: a Consul that made a million changes a second would get there in a
// century.
const noIndex = 1 << 52

// readMeta reads the X-Consul headers. A list without an index did not come from an agent.
func readMeta(r *request, h http.Header, size int) (Meta, error) {
	index, err := strconv.ParseUint(h.Get("X-Consul-Index"), 10, 64)
	if err != nil || index >= noIndex {
		e := insane(r, "its X-Consul-Index is %q, which is none", excerpt([]byte(h.Get("X-Consul-Index")), r.token))
		e.Advice = "an agent sends one: does CONSUL_HTTP_ADDR lead to something else, or to a proxy that drops headers?"
		return Meta{}, e
	}
	// An index of 0 would make the next query return at once, for ever.
	return Meta{
		Index: max(index, 1), Filtered: h.Get("X-Consul-Results-Filtered-By-ACLs") == "true",
		Denies: h.Get("X-Consul-Default-ACL-Policy") == "deny", Size: size,
	}, nil
}
