package upstream_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"serai/upstream"
)

// The model of the line: programs of events for rooms, pools and endpoints. After each
// step the invariants are checked.

// step is one event. Its numbers choose among what exists at that moment, modulo its
// count.
type step struct {
	Kind kind
	N    [4]int
}

type kind int

const (
	arrive kind = iota
	end
	leave
	pass // of time
	turn // of an endpoint's state
	publish
	burst // of ends and arrivals at once
)

func steps() *rapid.Generator[[]step] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		n := rapid.IntRange(0, 11)
		// Arrivals and ends are most frequent.
		k := rapid.SampledFrom([]kind{arrive, arrive, arrive, arrive, end, end, leave, pass, turn, turn, publish, burst, burst}).Draw(t, "kind")
		return step{k, [4]int{n.Draw(t, "a"), n.Draw(t, "b"), n.Draw(t, "c"), n.Draw(t, "d")}}
	}), 1, 60)
}

const (
	modelRooms, modelEndpoints = 3, 3
	modelMaxWaiting            = 4
)

// client is one request of the model.
type client struct {
	number, room int
	step         int // in which it came: within one step there is no order
	attributes   attributes
	tried        upstream.Tried
	again        bool
	has          func(*upstream.Endpoint) bool // already tried, and not to be tried again
	wait         time.Duration
	since        time.Time
	gone         chan struct{}
	done         chan struct{}
	member       *upstream.Member // once done
	err          error
}

type model struct {
	registry  *upstream.Registry
	endpoints []*upstream.Endpoint
	rooms     []*upstream.Room
	pools     []*upstream.Pool
	clients   int
	steps     int
	mixed     bool      // requests ended while others came: a place may have become free too late
	waiting   []*client // in the order in which they came
	inflight  []*client
	left      []*client // that must learn that they are gone
	now       []*client // that ended in this step
}

func TestLineModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		program := steps().Draw(rt, "program")
		var err error
		synctest.Test(t, func(*testing.T) { err = play(program) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// play runs a program to its end and returns the first violated invariant.
func play(program []step) error {
	m := &model{registry: upstream.NewRegistry(upstream.RegistryOptions{MaxWaiting: modelMaxWaiting, MaxWaitingBytes: 1000})}
	for i := range modelEndpoints {
		e := m.registry.Acquire(upstream.Target{Instance: strconv.Itoa(i)})
		upstream.SetState(e, upstream.Ready)
		m.endpoints = append(m.endpoints, e)
	}
	for i := range modelRooms {
		m.rooms = append(m.rooms, m.registry.NewRoom(""))
		m.pools = append(m.pools, nil)
		m.publish(i, 7, 1, 3, 0)
	}
	var failed error
	for i, s := range program {
		m.do(s)
		if err := m.settle(); err != nil {
			failed = fmt.Errorf("step %d, %v: %w", i, s, err)
			break
		}
	}
	for len(m.inflight)+len(m.waiting) > 0 {
		for len(m.inflight) > 0 {
			m.do(step{Kind: end})
		}
		for _, c := range m.waiting {
			close(c.gone)
			m.left = append(m.left, c)
		}
		if err := m.settle(); err != nil && failed == nil {
			failed = fmt.Errorf("at the end: %w", err)
		}
	}
	if held, wishes := upstream.LeftOver(m.registry, m.endpoints); failed == nil && held+int64(wishes) != 0 {
		failed = fmt.Errorf("left over: %d bytes, %d wishes", held, wishes)
	}
	return failed
}

func (m *model) do(s step) {
	switch s.Kind {
	case arrive:
		m.arrive(s)
	case end:
		if len(m.inflight) == 0 {
			return
		}
		i := s.N[0] % len(m.inflight)
		c := m.inflight[i]
		m.inflight = slices.Delete(m.inflight, i, i+1)
		pool := m.pools[c.room]
		go func() {
			pool.End(time.Now(), c.member, upstream.Outcome{Status: 200, FirstByte: time.Millisecond})
		}()
	case leave:
		if len(m.waiting) == 0 {
			return
		}
		c := m.waiting[s.N[0]%len(m.waiting)]
		close(c.gone)
		m.left = append(m.left, c)
		if s.N[1]%3 == 0 { // at the very moment when a place becomes free
			m.do(step{Kind: end})
		}
	case pass:
		time.Sleep(time.Duration(s.N[0]%3) * time.Second)
		if s.N[1]%3 == 0 { // at the very moment when a wait is over
			m.do(step{Kind: end})
		}
	case turn:
		states := []upstream.State{upstream.Ready, upstream.Ready, upstream.Probing, upstream.Ejected}
		upstream.SetState(m.endpoints[s.N[0]%modelEndpoints], states[s.N[1]%len(states)])
	case publish:
		m.publish(s.N[0]%modelRooms, s.N[1]%8, s.N[2]%3, s.N[3]%4, s.N[2]/3)
	case burst:
		m.mixed = true
		for i := range 1 + s.N[0]%4 {
			m.do(step{Kind: end, N: s.N})
			m.arrive(step{N: [4]int{s.N[1] + i, s.N[2] + i, s.N[3], s.N[0] + i}})
		}
	}
}

// publish gives a room a pool of the endpoints whose bits are set, one of them a
// canary.
func (m *model) publish(room, bits, limit, canary, rule int) {
	var members []*upstream.Member
	for i, e := range m.endpoints {
		if bits>>i&1 == 0 {
			continue
		}
		member := &upstream.Member{Endpoint: e, ID: strconv.Itoa(i), Weight: 100, MaxInflight: limit}
		if i == 1 {
			member.MaxInflight = (limit + room) % 3
		}
		if i == canary {
			member.Canary = []*upstream.Canary{
				{Header: "x-canary", Value: "1"}, {Percent: 100}, {Percent: 1e-12}, {Percent: 1e-12},
			}[rule]
		}
		members = append(members, member)
	}
	balance := upstream.Balance{Method: upstream.Method(bits % 4)}
	m.pools[room] = upstream.NewPool(members, upstream.PoolOptions{Balance: balance}, m.rooms[room])
	m.registry.Publish(m.pools[room])
}

func (m *model) arrive(s step) {
	c := &client{number: m.clients, step: m.steps, room: s.N[0] % modelRooms, since: time.Now(), gone: make(chan struct{}), done: make(chan struct{})}
	m.clients++
	c.has = func(*upstream.Endpoint) bool { return false }
	if s.N[1]%3 == 0 {
		c.attributes.headers = map[string]string{"x-canary": "1"}
	}
	if s.N[2]%4 == 0 {
		tried := m.endpoints[s.N[3]%modelEndpoints]
		c.tried.Add(tried)
		if c.again = s.N[2]%8 == 0; !c.again {
			c.has = func(e *upstream.Endpoint) bool { return e == tried }
		}
	}
	c.wait = []time.Duration{0, time.Second, 3 * time.Second, time.Hour}[s.N[3]%4]
	m.waiting = append(m.waiting, c)
	pool := m.pools[c.room]
	go func() {
		defer close(c.done)
		if c.member = pool.Pick(time.Now(), c.attributes, &c.tried, c.again); c.member == nil {
			c.member, c.err = m.rooms[c.room].Wait(c.wait, upstream.WaitingRequest{
				Attributes: c.attributes, Tried: &c.tried, Again: c.again, Holds: 10, Gone: c.gone,
			})
		}
	}()
}

// settle lets all requests go as far as they can, and checks the invariants.
func (m *model) settle() error {
	synctest.Wait()
	m.now = nil
	var still []*client
	for _, c := range m.waiting {
		select {
		case <-c.done:
			m.now = append(m.now, c)
		default:
			still = append(still, c)
		}
	}
	m.waiting = still
	m.steps++
	for _, c := range m.now {
		if c.member != nil {
			m.inflight = append(m.inflight, c)
		}
	}
	err := errors.Join(m.ends(), m.limits(), m.order(), m.idle())
	m.mixed = false
	return err
}

// ends: a request ends its wait with a member of its pool, or with a reason.
func (m *model) ends() error {
	var errs []error
	for _, c := range m.now {
		waited := 0
		for _, other := range m.waiting {
			if other.room == c.room {
				waited++
			}
		}
		members := m.pools[c.room].Members()
		ok := false
		switch {
		case c.err == nil:
			ok = slices.ContainsFunc(members, func(x *upstream.Member) bool { return c.member.Endpoint == x.Endpoint })
		case c.err == upstream.ErrClientGone:
			ok = slices.Contains(m.left, c)
		case c.err == upstream.ErrWaitTimeout:
			ok = time.Since(c.since) >= c.wait
		case c.err == upstream.ErrRoomFull:
			ok = waited == modelMaxWaiting || m.mixed
		}
		if !ok {
			errs = append(errs, fmt.Errorf("request %d ended with %+v, %v", c.number, c.member, c.err))
		}
	}
	return errors.Join(errs...)
}

// limits: requests in flight are counted, and none got a place beyond a limit.
func (m *model) limits() error {
	var errs []error
	for _, e := range m.endpoints {
		n := 0
		for _, c := range m.inflight {
			if c.member.Endpoint == e {
				n++
			}
		}
		if e.Inflight() != n {
			errs = append(errs, fmt.Errorf("%d requests in flight on %s are counted as %d", n, e.Target().Instance, e.Inflight()))
		}
		for _, c := range m.now {
			if c.member == nil || c.member.Endpoint != e || c.member.MaxInflight == 0 {
				continue
			}
			later := 0 // requests that may have come to e in this step when the place was already taken
			for _, other := range m.now {
				if other.member != nil && other.member.Endpoint == e && (other.member.MaxInflight == 0 || other.member.MaxInflight > c.member.MaxInflight) {
					later++
				}
			}
			if n-later > c.member.MaxInflight {
				errs = append(errs, fmt.Errorf("request %d is one of %d on %s, where %d are allowed", c.number, n, e.Target().Instance, c.member.MaxInflight))
			}
		}
	}
	return errors.Join(errs...)
}

// usable reports whether a member could take c if its endpoint had so many fewer
// requests.
func (m *model) usable(c *client, on *upstream.Endpoint, less int) bool {
	return m.limit(c, on, less) > 0
}

// limit returns the highest limit of the members that could take c then; 0 when
// there is none.
func (m *model) limit(c *client, on *upstream.Endpoint, less int) (highest int) {
	members := m.pools[c.room].Members()
	up := func(x *upstream.Member) bool {
		return x.Endpoint.State() == upstream.Ready || x.Endpoint.State() == upstream.Ejected
	}
	stableUp := slices.ContainsFunc(members, func(x *upstream.Member) bool { return x.Canary == nil && up(x) })
	for i := range members {
		x := members[i]
		if x.Endpoint != on || !up(x) || c.has(on) || x.MaxInflight > 0 && on.Inflight()-less >= x.MaxInflight {
			continue
		}
		switch k := x.Canary; {
		case k == nil, k.Header != "" && c.attributes.headers != nil, k.Percent == 100, k.Percent > 0 && !stableUp:
			highest = max(highest, limitOf(x))
		}
	}
	return highest
}

func limitOf(m *upstream.Member) int {
	if m.MaxInflight == 0 {
		return math.MaxInt
	}
	return m.MaxInflight
}

// order: no request got a place that an earlier one, which still waits, could use. When
// requests ended meanwhile, a place beyond the limit of the earlier one's member may
// not have been usable for it.
func (m *model) order() error {
	var errs []error
	for _, c := range m.now {
		if c.member == nil {
			continue
		}
		for _, other := range m.waiting {
			limit := m.limit(other, c.member.Endpoint, 1)
			if other.step < c.step && limit > 0 && (!m.mixed || limit >= limitOf(c.member)) {
				errs = append(errs, fmt.Errorf("request %d overtook %d on %s", c.number, other.number, c.member.ID))
			}
		}
	}
	return errors.Join(errs...)
}

// idle: no request waits, or was refused, while there is a place for it.
func (m *model) idle() error {
	var errs []error
	look := func(c *client, how string) {
		for _, e := range m.endpoints {
			if m.usable(c, e, 0) {
				errs = append(errs, fmt.Errorf("request %d %s though %s has a place", c.number, how, e.Target().Instance))
			}
		}
	}
	for _, c := range m.waiting {
		look(c, "waits")
	}
	for _, c := range m.now {
		refused := c.err == upstream.ErrRoomFull || c.err == upstream.ErrWaitTimeout && c.wait == 0
		if refused && !m.mixed {
			look(c, "was refused")
		}
	}
	return errors.Join(errs...)
}
