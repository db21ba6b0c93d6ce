// Package nomadsim answers: what would Nomad answer?
//
// It is one agent's HTTP API in this process, with the semantics that matter to a
// watcher of services and a user of variables: indexes and blocking queries, the event
// stream and its quirks, refusals, check-and-set, locks. The contract suite in this
// folder runs against it and against a real agent, so that what tests show here is true
// there. In addition it can fail on request in every way that was seen.
//
// It schedules nothing: tests, and `serai dev`, decide what is registered.
package nomadsim

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"serai/internal/faulty"
	"serai/nomad"
)

// Options say how the agent behaves. The zero Options are an agent with Nomad's
// defaults, with ACLs off.
type Options struct {
	// Heartbeat is the interval on event streams: 30 s, like the agent's,
	// which cannot be set there.
	Heartbeat time.Duration
	// Buffer is how many changes the event stream remembers besides the oldest, which
	// Nomad does not count: 100.
	Buffer int
	// CommitDelay is how long after its event a change is visible in lists. Nomad
	// publishes before it commits, so a read right after an event may return an older
	// index; zero makes that window too short to notice.
	CommitDelay time.Duration
	// MaxWait bounds blocking queries and is the wait of those that give none: 5
	// minutes.
	MaxWait time.Duration
	// MinLockTTL is the shortest TTL of a lock: 10 s. Tests whose holders run in real
	// time set less; others use Advance.
	MinLockTTL time.Duration
	// ACL enables access control. Then Tokens say what requests may do.
	ACL bool
	// Refusal is how a refused event stream looks.
	Refusal Refusal
	// RequireToken answers 401 to requests without a token, as the Task API
	// socket does even with ACLs off.
	RequireToken bool
	// Logger may be nil.
	Logger *slog.Logger
}

// Refusal is how a refused event stream looks. The first two were both seen.
type Refusal int

// Agents write 200 before they check the token; then they close, or forget to.
// Old ones checked first.
const (
	RefusalEOF Refusal = iota
	RefusalSilence
	RefusalForbidden
)

// What a simulated agent says about itself.
const (
	Region     = "global"
	Datacenter = "dc1"
	Version    = "2.0.5"
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
	index  uint64        // of the last change, committed or not
	ahead  time.Duration // beyond real time, by Advance
	leader bool
	// changed is closed and replaced whenever blocked queries must check again.
	changed    chan struct{}
	pending    []pendingCommit // oldest first
	services   serviceTable
	namespaces namespaceTable
	jobs       jobTable
	variables  variableTable
	access     accessTable
	buffer     *eventBuffer
	restored   int // number of restores
}

// New returns an agent with only the namespace "default". It serves through its
// Handler, or on a listener with Run.
func New(o Options) *Sim {
	if o.Heartbeat == 0 {
		o.Heartbeat = 30 * time.Second
	}
	if o.Buffer == 0 {
		o.Buffer = 100
	}
	if o.MaxWait == 0 {
		o.MaxWait = 5 * time.Minute
	}
	if o.MinLockTTL == 0 {
		o.MinLockTTL = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sim{
		options: o,
		index:   1,
		leader:  true,
		changed: make(chan struct{}),
		buffer:  newEventBuffer(o.Buffer),
	}
	s.services.init()
	s.jobs.init()
	s.variables.init()
	s.access.init(o.ACL)
	s.namespaces.init(s.index, nomad.DefaultNamespace)
	s.net = faulty.NewNetwork()
	s.handler = s.routes()
	return s
}

// ServeHTTP answers one request as the agent would.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Run serves on l, which it closes, until ctx ends, and returns once every request and
// stream has ended. Its error is nil when ctx ended it. The agent's state outlives Run:
// another Run with a new listener on the same address is a restart.
func (s *Sim) Run(ctx context.Context, l net.Listener) error {
	return s.net.Serve(ctx, l, &http.Server{
		Handler:  s,
		ErrorLog: slog.NewLogLogger(s.options.Logger.Handler(), slog.LevelDebug),
	})
}

// Index is the index of the last change of anything.
func (s *Sim) Index() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index
}

// SetLeader says whether the servers have a leader. Without one, lists that do not
// permit stale answers and all writes through the API fail with 500, and stale answers
// say so. Changes through the methods of Sim still happen: they stand for what another
// server knows.
func (s *Sim) SetLeader(known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leader = known
}

// Advance advances the time of the agent's locks and of the CommitDelay. Heartbeats and
// the waits of queries stay in real time, which clients also measure.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	s.wake()
}

// now is the agent's time. s.mu must be held.
func (s *Sim) now() time.Time { return time.Now().Add(s.ahead) }

// wake makes blocked queries check again. s.mu must be held.
func (s *Sim) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}
