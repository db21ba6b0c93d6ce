package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Finding is a broken promise that was seen.
type Finding struct {
	Oracle string // which promise
	About  string // the part of the program it was seen at, may be empty
	Text   string
}

func (f Finding) String() string {
	if f.About == "" {
		return f.Oracle + ": " + f.Text
	}
	return fmt.Sprintf("%s: %s: %s", f.Oracle, f.About, f.Text)
}

// arrival is a request as an instance saw it.
type arrival struct {
	request  *Request
	instance *instance
	conn     *originConn
	at       time.Time // its head was read
	began    time.Time // its final answer was about to be written, zero for never
	ended    time.Time // its answer was written, or given up
	nth      int       // of the request's arrivals, from 0
	body     checked
	whole    bool // its body ended in order
	answered bool // its answer was written to the end
}

// outcome is a request as its client saw it.
type outcome struct {
	request *Request
	client  *Client
	// before is the outcome before it on the same connection, nil for none.
	before *outcome
	// began is when its first byte was about to be written. headSent and sent
	// tell whether its head and all of it were.
	began          time.Time
	ended          time.Time
	headSent, sent bool

	// cookie is what was sent back, NAME=VALUE.
	cookie string
	// lastByte is when the write that ends the request was begun, zero for never
	// or where requests are pipelined.
	lastByte time.Time
	// late is for how long serai had to wait for the body beyond what its bytes
	// account for at the least rate, at most.
	late time.Duration
	// halfClosed is when the client closed its side behind it, zero for never.
	halfClosed time.Time

	status     int // 0 when no answer came
	reason     string
	id         string
	instance   string
	body       checked
	whole      bool
	closing    bool // the answer says that the connection ends
	headFields *head
	end        string
	detail     string
}

// Ends of outcomes that are not whole.
const (
	endClosed    = "closed"
	endReset     = "reset"
	endCut       = "cut"
	endTimeout   = "timeout"
	endMalformed = "malformed"
	endGone      = "the client left"
	endLost      = "lost behind another"
)

// ledger is what was seen in an episode. All methods may be called concurrently.
type ledger struct {
	mu       sync.Mutex
	requests map[uint64]*Request
	clients  map[*Request]*Client
	arrivals map[*Request][]*arrival
	outcomes map[*Request]*outcome
	findings []Finding
	// late is the longest that this process was kept from running: what is
	// judged by time is not judged when that is long.
	late time.Duration
}

func newLedger(p *Program) *ledger {
	l := &ledger{requests: make(map[uint64]*Request), clients: make(map[*Request]*Client), arrivals: make(map[*Request][]*arrival), outcomes: make(map[*Request]*outcome)}
	for _, c := range p.Clients {
		for _, r := range c.Requests {
			l.requests[r.ID] = r
			l.clients[r] = c
		}
	}
	return l
}

// mostFindings bounds the findings of one episode: a broken promise is often
// broken by hundreds of requests.
const mostFindings = 50

// find records a broken promise.
func (l *ledger) find(oracle, about, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Finding{oracle, about, fmt.Sprintf(format, args...)}
	if len(l.findings) < mostFindings && !slices.Contains(l.findings, f) {
		l.findings = append(l.findings, f)
	}
}

// arrive records a request whose head an instance has read.
func (l *ledger) arrive(a *arrival) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.nth = len(l.arrivals[a.request])
	l.arrivals[a.request] = append(l.arrivals[a.request], a)
}

// conclude records how a request ended for its client.
func (l *ledger) conclude(o *outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes[o.request] = o
}

// found returns the findings so far.
func (l *ledger) found() []Finding {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.findings)
}

// kept is the longest that this process was kept from running so far.
func (l *ledger) kept() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

// watchTime records how late this process runs until done is closed.
func (l *ledger) watchTime(done <-chan struct{}) {
	const every = 20 * time.Millisecond
	for {
		began := time.Now()
		select {
		case <-done:
			return
		case <-time.After(every):
		}
		l.mu.Lock()
		l.late = max(l.late, time.Since(began)-every)
		l.mu.Unlock()
	}
}
