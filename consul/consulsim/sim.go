// Package consulsim answers: what would Consul answer?
//
// It is the HTTP API of one agent, which is also the only server, in this process, with
// the semantics that matter to a follower of the catalog: indexes and blocking queries,
// filters, health, the agent's own services and their way into the catalog, maintenance,
// refusals by token. The contract suite in this folder runs against it and against a
// real agent, so that what tests show here is true there. In addition it can fail on
// request in every way that was seen.
//
// It runs no checks but TTLs, and sidecars only where a test asks for one: tests decide what
// is healthy.
package consulsim

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"serai/internal/faulty"
)

// Options say how the agent behaves. The zero Options are an agent with Consul's
// defaults, with ACLs off.
type Options struct {
	// Node is the name of the agent's own node: "node1".
	Node string
	// SyncDelay is how long a change of the agent's services and checks takes into
	// the catalog. A real agent needs milliseconds, or minutes while it cannot reach
	// the servers; zero is at once.
	SyncDelay time.Duration
	// MaxWait bounds blocking queries and is the wait of those that give none: 5
	// minutes, where Consul's bound is 10.
	MaxWait time.Duration
	// Hold is how long a request waits for a leader before it is refused. Consul has
	// 7 s; zero is no time.
	Hold time.Duration
	// MaxConns bounds the connections. Consul has 200 for each client's address
	// (limits.http_max_conns_per_client); zero is no bound.
	MaxConns int
	// ACL enables access control, with the default policy "deny". Then Tokens say what
	// requests may do.
	ACL bool
	// Logger may be nil.
	Logger *slog.Logger
}

// What a simulated agent says about itself.
const (
	Datacenter = "dc1"
	Version    = "1.14.11"
	nodeID     = "11111111-1111-1111-1111-111111111111"
	serverPort = 8300
	// firstIndex is about where a new cluster's is once it has a leader.
	firstIndex = 10
)

// Sim is a simulated agent. All methods may be called concurrently, whether or not it
// serves.
type Sim struct {
	options Options
	handler http.Handler
	faults  faulty.Faults
	counter counter
	net     *faulty.Network

	mu     sync.Mutex    // guards all below
	index  uint64        // of the last write
	ahead  time.Duration // beyond real time, by Advance
	leader bool
	// changed is closed and replaced whenever blocked queries must check again.
	changed chan struct{}
	catalog catalog
	local   local
	access  accessTable
	mesh    mesh
	encoded map[string]encodedAnswer
	resets  int // number of times that the state was replaced
}

// New returns an agent whose catalog has its own node and the service "consul". It
// serves through its Handler, or on a listener with Run.
func New(o Options) *Sim {
	if o.Node == "" {
		o.Node = "node1"
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sim{options: o, leader: true, changed: make(chan struct{}), net: faulty.NewNetwork()}
	s.access.init(o.ACL)
	s.begin()
	s.handler = s.routes()
	return s
}

// begin is the state of a new cluster. s.mu must be held, or s not shared yet.
func (s *Sim) begin() {
	s.index = firstIndex
	s.encoded = map[string]encodedAnswer{}
	s.catalog.init()
	s.local.init()
	// The leader registers the node of each server, and what is missing there the agent
	// adds.
	own, index := s.ownNode(), s.next()
	e := s.catalog.putNode(Node{ID: own.ID, Node: own.Node, Address: own.Address, Datacenter: own.Datacenter}, index)
	server := Service{ID: "consul", Service: "consul", Meta: serverMeta(), Port: serverPort}
	complete(&server)
	s.catalog.putService(e, server, index)
	s.catalog.putCheck(e, serfHealth(), index)
	s.catalog.putNode(own, s.next())
	s.mesh.init(s.index)
}

// next is the index of a new write.
func (s *Sim) next() uint64 {
	s.index++
	return s.index
}

// ServeHTTP answers one request as the agent would.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run serves on l, which it closes, until ctx ends, and returns once every request has
// ended. Its error is nil when ctx ended it. The state outlives Run: another Run with a
// new listener on the same address is a restart of an agent whose servers remember.
func (s *Sim) Run(ctx context.Context, l net.Listener) error {
	limit := &connLimit{max: s.options.MaxConns}
	return s.net.Serve(ctx, l, &http.Server{
		Handler:   s,
		ConnState: limit.state,
		ErrorLog:  slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	})
}

// Index is the index of the last write of anything.
func (s *Sim) Index() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index
}

// SetLeader says whether the servers have a leader. Without one, lists that do not
// permit stale answers and all writes to the catalog fail with 500, stale answers say
// so, and what the agent registers itself does not get into the catalog. The methods
// Register and Deregister still do, as if another server had told.
func (s *Sim) SetLeader(known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = known
	s.wake()
}

// Advance advances the time of TTLs and of the SyncDelay. The waits of queries stay in
// real time, which clients also measure.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	s.wake()
}

// Reset is a restart with empty state, such as that of an agent in development mode:
// nothing is registered but the agent itself, and indexes start again. Connections are
// closed. Tokens stay.
func (s *Sim) Reset() {
	s.mu.Lock()
	s.begin()
	s.resets++
	s.wake()
	s.mu.Unlock()
	s.Disconnect()
}

// now is the agent's time. s.mu must be held.
func (s *Sim) now() time.Time { return time.Now().Add(s.ahead) }

// wake makes blocked queries check again. s.mu must be held.
func (s *Sim) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
