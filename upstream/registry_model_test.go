package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestRegistryModel runs random programs against a registry with simulated instances:
// they start, stop, hang and fail, requests find that out at any time, services come
// and go. In the end every instance that is up and not ejected is ready, and no request
// waits.
func TestRegistryModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubble{t}, registryProgram) })
}

// played is a simulated instance: a registration of a process, of which there may be
// two.
type played struct {
	target Target
	*process
}

type process struct {
	up      bool
	answers time.Duration // a probe
}

const processes, registrations = 4, 6

// holding is an Acquire, and the model's view of the endpoint.
type holding struct {
	*Endpoint
	refs int
	// ejectedUntil is when the last ejection is over.
	ejectedUntil time.Time
	begun        []phase // of connects in progress
}

// model is the registry and what it should be.
type model struct {
	*rapid.T
	registry  *Registry
	instances []*played
	held      map[int]*holding // by instance
	pool      *Pool
	rooms     sync.WaitGroup
}

const modelEjectAfter, modelEjectTime = 3, 10 * time.Second

var errDown = fmt.Errorf("%w: refused", ErrConnect)

func registryProgram(t *rapid.T) {
	r := NewRegistry(RegistryOptions{Probes: 2, ProbeRate: 200, EjectAfter: modelEjectAfter, EjectTime: modelEjectTime})
	m := &model{T: t, registry: r, held: make(map[int]*holding)}
	byTarget := make(map[Target]*played)
	for i := range registrations {
		p := &played{target: Target{Address: fmt.Sprintf("192.0.2.%d:80", i%processes), Instance: fmt.Sprint(i)}, process: &process{}}
		if i >= processes {
			p.process = m.instances[i-processes].process
		}
		if i%2 == 0 {
			p.target.Check = Check{Path: "/", Interval: 5 * time.Second, Timeout: 2 * time.Second}
		}
		m.instances, byTarget[p.target] = append(m.instances, p), p
	}
	var mu sync.Mutex // guards what is played
	r.probe = func(ctx context.Context, e *Endpoint, within time.Duration) error {
		mu.Lock()
		p := *byTarget[e.target].process
		mu.Unlock()
		select {
		case <-time.After(p.answers):
		case <-ctx.Done():
			return ctx.Err()
		}
		if !p.up { // when it was asked
			return errDown
		}
		return nil
	}
	room := r.NewRoom("")
	m.publish(room)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	change := func(f func(*played)) func(*rapid.T) {
		return func(t *rapid.T) {
			mu.Lock()
			defer mu.Unlock()
			f(rapid.SampledFrom(m.instances).Draw(t, "instance"))
		}
	}
	millis := func(most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, "ms")) * time.Millisecond
	}
	t.Repeat(map[string]func(*rapid.T){
		"start":   change(func(p *played) { p.up = true }),
		"stop":    change(func(p *played) { p.up = false }),
		"slower":  change(func(p *played) { p.answers = millis(1500) }),
		"acquire": func(t *rapid.T) { m.acquire(rapid.IntRange(0, registrations-1).Draw(t, "instance"), room) },
		"release": func(t *rapid.T) { m.release(rapid.IntRange(0, registrations-1).Draw(t, "instance"), room) },
		"wait":    func(*rapid.T) { m.rooms.Go(func() { room.Wait(millisOf(3), WaitingRequest{Tried: &Tried{}}) }) },
		"request": func(t *rapid.T) { m.request(rapid.Bool().Draw(t, "good")) },
		"connect": func(t *rapid.T) { m.connect(rapid.IntRange(0, registrations-1).Draw(t, "instance")) },
		"refused": func(t *rapid.T) { m.refused(rapid.IntRange(0, registrations-1).Draw(t, "instance")) },
		"pass":    func(*rapid.T) { time.Sleep(millis(1000)) },
		"pass on": func(*rapid.T) { time.Sleep(10 * millis(1000)) },
		"":        func(*rapid.T) { synctest.Wait(); m.check() },
	})
	m.settle(&mu)
	cancel()
	<-done
	m.rooms.Wait()
}

func millisOf(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

// publish makes a pool of all that is held.
func (m *model) publish(room *Room) {
	var members []*Member
	for _, h := range m.held {
		members = append(members, &Member{Endpoint: h.Endpoint, Weight: 100})
	}
	m.pool = NewPool(members, PoolOptions{}, room)
	m.registry.Publish(m.pool)
}

func (m *model) acquire(i int, room *Room) {
	e := m.registry.Acquire(m.instances[i].target)
	if h := m.held[i]; h == nil {
		m.held[i] = &holding{Endpoint: e, refs: 1}
	} else if h.refs++; h.Endpoint != e {
		m.Fatalf("instance %d has two endpoints", i)
	}
	m.publish(room)
}

func (m *model) release(i int, room *Room) {
	h := m.held[i]
	if h == nil {
		return
	}
	if h.refs--; h.refs == 0 {
		delete(m.held, i)
		m.publish(room)
	}
	m.registry.Release(h.Endpoint)
	if left := h.State() == Leaving; left != (h.refs == 0) {
		m.Fatalf("instance %d, held %d times, is %v", i, h.refs, h.State())
	}
}

// request sends one to whoever the pool picks.
func (m *model) request(good bool) {
	picked := m.pool.Pick(time.Now(), nobody{}, &Tried{}, false)
	if picked == nil {
		return
	}
	before := picked.Endpoint.State()
	o := Outcome{FirstByte: time.Millisecond, Status: 200}
	if !good {
		o = Outcome{Failure: "upstream-closed"}
	}
	m.pool.End(time.Now(), picked, o)
	if before == Ready && picked.Endpoint.State() == Ejected {
		if good {
			m.Fatalf("a good answer ejected an instance")
		}
		for _, h := range m.held {
			if h.Endpoint == picked.Endpoint {
				h.ejectedUntil = time.Now().Add(modelEjectTime)
			}
		}
	}
}

// connect begins a connect, which refused ends.
func (m *model) connect(i int) {
	if h := m.held[i]; h != nil {
		h.begun = append(h.begun, h.phase())
	}
}

func (m *model) refused(i int) {
	h := m.held[i]
	if h == nil || len(h.begun) == 0 {
		return
	}
	from, is := h.begun[0], h.phase()
	h.begun = h.begun[1:]
	h.dialFailed(from, errDown, time.Second)
	if now := h.phase(); from != is && now != is {
		m.Fatalf("instance %d went from %v to %v for what was begun in another phase, %v", i, is.state(), now.state(), from.state())
	}
}

// check checks the invariants of every endpoint.
func (m *model) check() {
	for i, h := range m.held {
		s := h.Status()
		if s.State == Ready && time.Now().Before(h.ejectedUntil) {
			m.Fatalf("instance %d is ready %v before its ejection is over", i, time.Until(h.ejectedUntil))
		}
		if s.State == Ready && s.Cause != "" || s.State == Ejected && s.Cause == "" || s.State == Leaving {
			m.Fatalf("instance %d is %v because %q", i, s.State, s.Cause)
		}
	}
}

// settle leaves things unchanged for long enough.
func (m *model) settle(mu *sync.Mutex) {
	mu.Lock()
	for _, p := range m.instances {
		p.answers = 0
	}
	mu.Unlock()
	// The longest ejection is doubled five times.
	time.Sleep(modelEjectTime<<maxDoublings + time.Minute)
	for i, h := range m.held {
		p := m.instances[i]
		want := Probing
		if p.up {
			want = Ready
		}
		s := h.State()
		// Without a check nothing finds out that a ready one is down.
		if s != want && !(s == Ready && p.target.Check.Path == "") {
			m.Fatalf("instance %d, up: %v, is %v: %q; %+v", i, p.up, s, h.Status().Cause, h.schedule)
		}
	}
	var walked States
	for _, e := range m.registry.All() {
		walked[e.State()]++
	}
	if counted := m.registry.States(); counted != walked {
		m.Fatalf("counted %v, and there are %v", counted, walked)
	}
	if stats := m.registry.Probes(); stats.Now != 0 {
		m.Fatalf("%d probes under way in the end", stats.Now)
	}
}

// nobody is a request without any attribute.
type nobody struct{}

func (nobody) Header(string) []byte      { return nil }
func (nobody) Cookie(string, int) []byte { return nil }
func (nobody) ClientIP() []byte          { return nil }

// TestPhases tries every transition of every phase: only the listed ones end a phase,
// and what was begun in one phase ends no other.
func TestPhases(t *testing.T) {
	r := NewRegistry(RegistryOptions{})
	all := []State{Probing, Ready, Ejected, Leaving}
	listed := map[State][]State{Probing: {Ready, Ejected, Leaving}, Ready: {Probing, Ejected, Leaving}, Ejected: {Probing, Leaving}}
	for _, from := range all {
		for _, to := range all {
			e := &Endpoint{registry: r}
			e.current.Store(uint64(from))
			old := e.phase()
			want := false
			for _, s := range listed[from] {
				want = want || s == to
			}
			if got := e.move(old, to, "cause"); got != want || want && e.State() != to {
				t.Errorf("from %v to %v: %v, want %v", from, to, got, want)
			}
			if e.phase() != old && e.move(old, Leaving, "") {
				t.Errorf("from %v to %v: the old phase was ended again", from, to)
			}
		}
	}
	if !errors.Is(errDown, ErrConnect) || localFailure(errDown) {
		t.Error("a refused connect does not count against its instance")
	}
}
