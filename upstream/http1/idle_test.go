package http1

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/upstream"
	"serai/wire/socket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// long bounds waits for events; no test passes because it passes.
const long = time.Minute

// await waits until condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(long); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// TestIdleConnections lets the instance break idle connections in each way.
func TestIdleConnections(t *testing.T) {
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New, IdleTimeout: time.Hour})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a"})
	tr := e.Transport().(*Transport)
	defer r.Release(e)
	conns := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(conns)
				return
			}
			conns <- c
		}
	}()
	dial := func() (*conn, net.Conn) {
		c, name, err := e.Dial(t.Context(), netip.AddrPort{}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return tr.newConn(c, name), <-conns
	}
	first, _ := dial()
	second, server := dial()
	tr.put(first, time.Now())
	tr.put(second, time.Now())
	if got := tr.get(time.Now(), nil, true); got != second {
		t.Error("connections are not reused last in, first out")
	}
	tr.put(second, time.Now())
	server.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	await(t, "unsolicited bytes", func() bool { return !second.Reusable() })
	if err := tr.get(time.Now(), nil, true).Request([]byte("x"), nil, true); err != socket.ErrStale {
		t.Errorf("a request over a connection with bytes that nobody asked for: %v, want %v", err, socket.ErrStale)
	}
	if got := tr.get(time.Now(), nil, true); got != first {
		t.Error("another connection was expected")
	}
	third, server := dial()
	server.Close()
	await(t, "close", func() bool { return !third.Reusable() })
	tr.put(third, time.Now())
	if err := tr.get(time.Now(), nil, true).Request([]byte("x"), nil, true); err != socket.ErrStale {
		t.Errorf("a request over a closed connection: %v, want %v", err, socket.ErrStale)
	}
	tr.put(first, time.Now().Add(-2*time.Hour))
	if got := tr.get(time.Now(), nil, true); got != nil {
		t.Error("a connection was reused after its idle time")
	}
}

// TestLateBody: the next request does not go over the connection of a HEAD at once, for a body
// may follow all the same; but not everything waits for that.
func TestLateBody(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
	e := listening(t, says(head))
	tr := e.Transport().(*Transport)
	ask := func(method string) *conn {
		t.Helper()
		r, a := request(&asking{}), &upstream.Answer{}
		r.Head.Method = []byte(method)
		if f := tr.RoundTrip(r, a); f != nil {
			t.Fatal(f)
		}
		a.Stream.End(true)
		return a.Stream.(*conn)
	}
	first := ask("HEAD")
	now := first.idleSince
	for age, want := range map[time.Duration]bool{0: false, lateBody / 2: false, lateBody: true} {
		got := tr.get(now.Add(age), nil, true)
		if (got == first) != want {
			t.Errorf("after %v it is used: %v", age, !want)
		}
		if got != nil {
			tr.put(got, now)
		}
	}
	for range mostResting {
		tr.idle = append(tr.idle, &conn{transport: tr, idleSince: now, rests: lateBody})
	}
	if tr.get(now, nil, true) != first {
		t.Error("too many rest")
	}
	tr.idle = nil
	first.Close()
	// Requests that came together have one time, and what became idle since then is the first choice.
	old, fresh := &conn{transport: tr, idleSince: now}, &conn{transport: tr, idleSince: now.Add(time.Millisecond)}
	tr.idle = append(tr.idle, old, fresh)
	if tr.get(now, nil, true) != fresh {
		t.Error("what became idle behind the request's arrival is not used")
	}
	tr.idle = nil
}

// TestOlderConnectionsForRepeatableRequests: a connection that the instance may be about to close is only for requests
// that may be repeated, and it stays for them. What is known of the instance holds for all.
func TestOlderConnectionsForRepeatableRequests(t *testing.T) {
	const usual, repeatable = 4 * time.Second, time.Minute
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New, IdleTimeout: usual, RepeatableIdle: repeatable})
	e := r.Acquire(upstream.Target{Address: "127.0.0.1:1", Instance: "a"})
	defer r.Release(e)
	tr := e.Transport().(*Transport)
	now := time.Now()
	for _, k := range []struct {
		name               string
		age, closes        time.Duration // by the instance, as was seen or, negative, as it has announced
		once, again, stays bool
	}{
		{"young", usual - 1, 0, true, true, true},
		{"older", usual, 0, false, true, true},
		{"oldest", repeatable - 1, 0, false, true, true},
		{"too old", repeatable, 0, false, false, false},
		{"closed after five seconds", 4499 * time.Millisecond, 5 * time.Second, false, true, true},
		{"about to be closed", 4500 * time.Millisecond, 5 * time.Second, false, false, true}, // tests what was seen
		{"announced", 8999 * time.Millisecond, -10 * time.Second, false, true, true},
		{"over, as announced", 9 * time.Second, -10 * time.Second, false, false, false},
	} {
		t.Run(k.name, func(t *testing.T) {
			tr.observed = observedTimeout{}
			nc, other := net.Pipe()
			defer other.Close()
			c := &conn{transport: tr, idleSince: now.Add(-k.age)}
			c.Init(nc)
			defer c.Close()
			switch {
			case k.closes > 0:
				tr.observed = observedTimeout{after: k.closes, seen: now}
			case k.closes < 0:
				c.announced = nineTenths(-k.closes)
			}
			tr.idle = []*conn{c}
			for request, want := range map[bool]bool{false: k.once, true: k.again} {
				if got := tr.get(now, nil, request); (got != nil) != want {
					t.Errorf("a request (repeatable: %v) uses it: %v", request, !want)
				}
				tr.idle = []*conn{c}
			}
			if tr.Sweep(now); (len(tr.idle) == 1) != k.stays {
				t.Errorf("it stays: %v", !k.stays)
			}
			tr.idle = nil
		})
	}
}

// TestFullOfOldConnections: when there are enough idle connections, a new one takes the place of the oldest, which not all
// requests may use.
func TestFullOfOldConnections(t *testing.T) {
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New, IdleTimeout: 4 * time.Second, RepeatableIdle: time.Minute, MaxIdle: 2})
	e := r.Acquire(upstream.Target{Address: "127.0.0.1:1", Instance: "a"})
	defer r.Release(e)
	tr := e.Transport().(*Transport)
	began := time.Now()
	var ends []net.Conn
	for i := range 4 {
		nc, other := net.Pipe()
		defer other.Close()
		ends = append(ends, other)
		c := &conn{transport: tr}
		c.Init(nc)
		defer c.Close()
		tr.put(c, began.Add(time.Duration(i)*10*time.Second))
	}
	now := began.Add(31 * time.Second)
	newest := tr.get(now, nil, false)
	if newest == nil || now.Sub(newest.idleSince) != time.Second {
		t.Fatalf("a request that must not be repeated gets %v, not the newest connection", newest)
	}
	if before := tr.get(now, nil, true); before == nil || now.Sub(before.idleSince) != 11*time.Second || tr.get(now, nil, true) != nil {
		t.Error("not the two newest connections were kept")
	}
	for _, other := range ends[:2] {
		other.SetReadDeadline(time.Now().Add(long))
		if _, err := other.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an old connection that was replaced: %v, want %v", err, io.EOF)
		}
	}
}

// TestOlderConnectionsLeaveRoom: what is idle for longer than usual is closed where half of the permitted connections are
// open, and what a probe made and no request has used is closed in any case.
func TestOlderConnectionsLeaveRoom(t *testing.T) {
	const most = 16
	const usual = 4 * time.Second
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New, IdleTimeout: usual, RepeatableIdle: time.Minute, MaxConns: most})
	e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a"})
	defer r.Release(e)
	tr := e.Transport().(*Transport)
	dial := func() net.Conn {
		t.Helper()
		c, _, err := e.Dial(t.Context(), netip.AddrPort{}, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	idle := func() int { return tr.Status().Idle }
	later := time.Now().Add(usual + time.Second)
	for range most/2 - 1 {
		tr.put(tr.newConn(dial(), ""), time.Now())
	}
	if tr.Sweep(later); idle() != most/2-1 {
		t.Errorf("%d of %d connections are left though there is room", idle(), most/2-1)
	}
	tr.put(tr.newConn(dial(), ""), time.Now())
	if tr.Sweep(later); idle() != 0 {
		t.Errorf("%d connections are left where half of all are open", idle())
	}
	tr.Keep(dial())
	if tr.Sweep(later); idle() != 0 {
		t.Error("what a probe made is kept as if it had been used")
	}
	tr.Keep(dial())
	used := tr.get(time.Now(), nil, true)
	if used == nil {
		t.Fatal("what a probe made is not used")
	}
	tr.put(used, time.Now())
	if tr.Sweep(later); idle() != 1 {
		t.Error("what a probe made is closed though it was used")
	}
}
