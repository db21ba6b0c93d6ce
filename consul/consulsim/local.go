package consulsim

import (
	"encoding/json"
	"reflect"
	"time"
)

// local is what the agent itself has registered. It brings the changes into the
// catalog by and by, which Consul calls anti-entropy. Guarded by Sim.mu.
type local struct {
	services map[string]*Service    // by key of the ID
	checks   map[string]*localCheck // by key of the ID
	// unsynced has what changed since it was last brought into the catalog, and when
	// that is due.
	unsynced map[localKey]time.Time
	// held says that nothing is brought into the catalog.
	held bool
}

type localCheck struct {
	check   Check
	ttl     time.Duration
	expires time.Time // zero without TTL, and once it has expired
	alias   string    // the service whose health this is
}

// localKey names a service, or a check.
type localKey struct {
	check bool
	id    string
}

// outputDelay is how long a check's new output waits when the status is the same.
const outputDelay = 5 * time.Minute

func (l *local) init() {
	held := l.held
	*l = local{services: map[string]*Service{}, checks: map[string]*localCheck{}, unsynced: map[localKey]time.Time{}, held: held}
}

// HoldSync says whether the agent keeps what its services and checks become to itself,
// as if it could not reach a server.
func (s *Sim) HoldSync(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.local.held = held
	s.wake()
}

// Sync compares all that the agent has with the catalog, as it does once a minute:
// what others changed there about its node is undone.
func (s *Sim) Sync() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for id := range s.local.services {
		s.local.unsynced[localKey{id: id}] = now
	}
	for id := range s.local.checks {
		s.local.unsynced[localKey{true, id}] = now
	}
	e := s.catalog.putNode(s.ownNode(), s.next())
	for id := range e.services {
		if s.local.services[id] == nil && id != "consul" {
			s.local.unsynced[localKey{id: id}] = now
		}
	}
	for id := range e.checks {
		if s.local.checks[id] == nil && id != key("serfHealth") {
			s.local.unsynced[localKey{true, id}] = now
		}
	}
	s.wake()
}

func (s *Sim) ownNode() Node {
	return Node{
		ID: nodeID, Node: s.options.Node, Address: "127.0.0.1", Datacenter: Datacenter,
		TaggedAddresses: map[string]string{"lan": "127.0.0.1", "lan_ipv4": "127.0.0.1", "wan": "127.0.0.1", "wan_ipv4": "127.0.0.1"},
		Meta:            map[string]string{"consul-network-segment": ""},
	}
}

func serfHealth() Check {
	return Check{
		CheckID: "serfHealth", Name: "Serf Health Status", Status: Passing, Output: "Agent alive and reachable",
		Definition: json.RawMessage("{}"),
	}
}

func serverMeta() map[string]string {
	return map[string]string{
		"non_voter": "false", "raft_version": "3", "read_replica": "false", "serf_protocol_current": "2",
		"serf_protocol_max": "5", "serf_protocol_min": "1", "version": Version,
	}
}

// mark says that something has changed. s.mu must be held.
func (s *Sim) mark(k localKey, delay time.Duration) {
	due := s.now().Add(max(delay, s.options.SyncDelay))
	if old, ok := s.local.unsynced[k]; !ok || due.Before(old) {
		s.local.unsynced[k] = due
	}
	s.settle(s.now())
	s.wake()
}

// settle applies everything that depends only on time: expired TTLs, and what is due in
// the catalog. s.mu must be held.
func (s *Sim) settle(now time.Time) {
	changed := false
	for id, lc := range s.local.checks {
		if !lc.expires.IsZero() && !lc.expires.After(now) {
			at := lc.expires
			lc.expires = time.Time{}
			if said := lc.check.Output; said != "" {
				lc.check.Output = "TTL expired (last output before timeout follows): " + said
			} else {
				lc.check.Output = "TTL expired"
			}
			lc.check.Status = Critical
			s.local.unsynced[localKey{true, id}] = at.Add(s.options.SyncDelay)
		}
	}
	s.followAliases(now)
	if s.local.held || !s.leader {
		return
	}
	// Services first: their checks need them.
	for _, checks := range []bool{false, true} {
		for k, due := range s.local.unsynced {
			if k.check == checks && !due.After(now) {
				delete(s.local.unsynced, k)
				s.push(k)
				changed = true
			}
		}
	}
	if changed {
		s.wake()
	}
}

// push brings a service, with its checks, or a check into the catalog.
func (s *Sim) push(k localKey) {
	index := s.next()
	e := s.catalog.putNode(s.ownNode(), index)
	if k.check {
		lc := s.local.checks[k.id]
		if lc == nil {
			s.catalog.dropCheck(e, k.id, index)
			return
		}
		if !s.catalog.putCheck(e, lc.check, index) {
			s.local.unsynced[k] = s.now().Add(time.Second)
		}
		return
	}
	sv := s.local.services[k.id]
	if sv == nil {
		s.catalog.dropService(e, k.id, index)
		return
	}
	s.catalog.putService(e, *sv, index)
	for id, lc := range s.local.checks {
		if key(lc.check.ServiceID) == k.id {
			delete(s.local.unsynced, localKey{true, id})
			s.catalog.putCheck(e, lc.check, index)
		}
	}
}

// followAliases gives each alias check the worst state of its service's other checks.
func (s *Sim) followAliases(now time.Time) {
	for id, lc := range s.local.checks {
		if lc.alias == "" {
			continue
		}
		was := lc.check
		lc.check.Status, lc.check.Output = Passing, "No checks found."
		for _, other := range s.local.checks {
			if other.alias != "" || key(other.check.ServiceID) != key(lc.alias) {
				continue
			}
			switch {
			case other.check.Status == Critical:
				lc.check.Status, lc.check.Output = Critical, "Aliased check \""+other.check.Name+"\" failing: "+other.check.Output
			case other.check.Status == Warning && lc.check.Status == Passing:
				lc.check.Status, lc.check.Output = Warning, "Aliased check \""+other.check.Name+"\" failing: "+other.check.Output
			case lc.check.Status == Passing:
				lc.check.Output = "All checks passing."
			}
		}
		if !reflect.DeepEqual(was, lc.check) {
			s.local.unsynced[localKey{true, id}] = now.Add(s.options.SyncDelay)
		}
	}
}

// due is the time until settle has something to do, 0 when nothing is pending. s.mu
// must be held.
func (s *Sim) due(now time.Time) time.Duration {
	var next time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, lc := range s.local.checks {
		sooner(lc.expires)
	}
	if !s.local.held && s.leader {
		for _, t := range s.local.unsynced {
			sooner(t)
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Microsecond)
}
