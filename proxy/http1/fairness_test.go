package http1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"serai/front"
	"serai/internal/memory"
	"serai/proxy/http1"
)

// dialFrom connects to the stack from an address of the loopback.
func (k *stack) dialFrom(address string) *peer {
	k.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := d.Dial("tcp", k.address)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return &peer{k.t, c, bufio.NewReader(c)}
}

// TestOneAddressKeepsWhatItHas: behind a balancer that names no clients all are one. It
// may take nearly all of the memory; at the end its newest requests are refused, and
// another address is served beside them. No request that is under way is ended.
func TestOneAddressKeepsWhatItHas(t *testing.T) {
	b := memory.NewBudget(2 << 20)
	var begun, ended atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			begun.Add(1)
			<-r.Context().Done()
			ended.Add(1)
		}
	}))
	t.Cleanup(web.Close)
	k := newStack(t, settings{server: http1.Options{KeepAlive: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	k.service("web", []string{web.Listener.Addr().String()}, "ingress.host=web.example.org")
	k.awaitReady()
	sent := int64(0)
	for ; ; sent++ {
		c := k.dialFrom("127.0.2.1")
		if _, err := io.WriteString(c.Conn, "GET /wait HTTP/1.1\r\nHost: web.example.org\r\n\r\n"); err != nil {
			break // closed at once
		}
		until(t, "the request's end or its arrival", func() bool {
			_, requests := b.Taken(memory.Requests)
			return begun.Load() > sent || requests > 0 || k.server.Status().Refused > 0
		})
		if begun.Load() == sent {
			break
		}
	}
	var all int64
	for _, p := range memory.Parts() {
		n, _ := b.Taken(p)
		all += n
	}
	if all < b.Limit()/16*12 {
		t.Errorf("one address may take only %d of %d bytes", all, b.Limit())
	}
	for range 20 {
		c := k.dialFrom("127.0.2.2")
		c.send("GET / HTTP/1.1", "Host: web.example.org", "")
		c.status("GET", 200, "")
		c.Close()
	}
	time.Sleep(600 * time.Millisecond) // the watch has looked twice
	if begun.Load() != sent || ended.Load() > 0 {
		t.Errorf("%d of %d requests under way were ended", ended.Load(), sent)
	}
}

// fill has dial make connections until one is refused, and returns them with that one. Of those that
// are open already, it is told the number.
func (k *stack) fill(open int, dial func(i int) *peer) (all []*peer) {
	k.t.Helper()
	for ; k.server.Status().Refused == 0; open++ {
		if open > 1000 {
			k.t.Fatalf("%d connections, and none refused", open)
		}
		all = append(all, dial(open))
		until(k.t, "its count", func() bool { st := k.server.Status(); return st.Conns > open || st.Refused > 0 })
	}
	return all
}

// TestOneAddressLeavesConnections: the last connections of a listener, and of all
// together, are for those who have few. A balancer that names its clients is not
// taken for them.
func TestOneAddressLeavesConnections(t *testing.T) {
	const most = 64
	proxied := func(l net.Listener) net.Listener {
		return front.AcceptProxyProtocol(l, []netip.Prefix{netip.MustParsePrefix("127.0.2.0/24")}, long)
	}
	for name, s := range map[string]settings{
		"of the listener":           {front: front.Options{MaxConns: most}},
		"of all":                    {front: front.Options{Clients: front.NewClients(nil, most)}},
		"of all, behind a balancer": {front: front.Options{Clients: front.NewClients(nil, most)}, wrap: proxied},
		"of memory, behind a balancer": {front: front.Options{Clients: front.NewClients(memory.NewBudget(most*6<<10), 0)},
			wrap: proxied},
	} {
		t.Run(name, func(t *testing.T) {
			s.server.KeepAlive = long
			k, o := web(t, s)
			dial := func(client int) *peer {
				if s.wrap == nil {
					return k.dialFrom(fmt.Sprintf("127.0.2.%d", client))
				}
				c := k.dialFrom("127.0.2.1")
				c.write(fmt.Sprintf("PROXY TCP4 192.0.2.%d 192.0.2.9 1 80\r\n", client))
				return c
			}
			if open := len(k.fill(0, func(int) *peer { return dial(1) })); open > most+1 {
				t.Fatalf("%d connections, before one was refused", open)
			}
			if n := k.server.Status().Conns; n < most/16*12 {
				t.Errorf("one client may have only %d of %d connections", n, most)
			}
			c := dial(2)
			c.send("GET / HTTP/1.1", "Host: web.example.org", "")
			p := o.next()
			p.head()
			p.ok("x")
			c.status("GET", 200, "")
		})
	}
}

// TestIdleConnectionsMakeRoom: one address holds all connections that it can get. Fifty
// others are served, one after the other, and keep theirs: it loses idle ones, as many as
// the others take, and no request.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	const most, others = 64, 50
	for name, s := range map[string]settings{
		"of the listener": {front: front.Options{MaxConns: most}},
		"of all":          {front: front.Options{Clients: front.NewClients(nil, most)}},
	} {
		t.Run(name, func(t *testing.T) {
			over, begun := make(chan struct{}), make(chan struct{})
			instance := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/wait" {
					close(begun)
					<-over
				}
			}))
			t.Cleanup(instance.Close)
			s.server.KeepAlive = long
			k := newStack(t, s)
			k.service("web", []string{instance.Listener.Addr().String()}, "ingress.host=web.example.org")
			k.awaitReady()
			busy := k.dialFrom("127.0.2.1")
			busy.send("GET /wait HTTP/1.1", "Host: web.example.org", "")
			<-begun
			k.fill(1, func(int) *peer {
				c := k.dialFrom("127.0.2.1")
				c.write("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
				return c
			})
			alone := k.server.Status()
			if alone.Recalled > 0 {
				t.Errorf("%d connections were ended while nobody else came", alone.Recalled)
			}
			for i := range others {
				c := k.dialFrom(fmt.Sprintf("127.0.3.%d", i+1))
				for range 2 {
					c.send("GET / HTTP/1.1", "Host: web.example.org", "")
					c.status("GET", 200, "")
				}
				until(t, "room for the next", func() bool { return k.server.Status().Conns <= alone.Conns })
			}
			if st := k.server.Status(); st.Recalled != others || st.Refused != 1 {
				t.Errorf("%d connections were ended for %d others, %d refused", st.Recalled, others, st.Refused)
			}
			close(over)
			busy.status("GET", 200, "")
		})
	}
}

// TestIdleConnectionsGoForOthers: where one address holds all that idle connections may,
// another comes to as many within its share; the first loses idle ones, and no request.
func TestIdleConnectionsGoForOthers(t *testing.T) {
	const wanted = 60
	b := memory.NewBudget(2 << 20)
	k, o := web(t, settings{server: http1.Options{KeepAlive: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
	busy := k.dialFrom("127.0.2.1")
	busy.send("GET / HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	k.fill(1, func(int) *peer { return k.dialFrom("127.0.2.1") })
	var open atomic.Int64
	for range wanted {
		go func() {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.2.2")}}
			for k.t.Context().Err() == nil {
				c, err := d.Dial("tcp", k.address)
				if err != nil {
					continue
				}
				end := context.AfterFunc(k.t.Context(), func() { c.Close() })
				open.Add(1)
				c.Read(make([]byte, 1))
				open.Add(-1)
				end()
				c.Close()
			}
		}()
	}
	until(t, "the other's connections", func() bool {
		_, refused := b.Taken(memory.Connections)
		time.Sleep(200 * time.Millisecond)
		_, now := b.Taken(memory.Connections)
		return open.Load() == wanted && now == refused // and they stay
	})
	if b.Recalled() == 0 {
		t.Error("nobody has made room")
	}
	p.ok("x")
	busy.status("GET", 200, "")
}

// TestSlowHeadsMakeRoom: each of many addresses holds one connection with the beginning of a
// head. Others are served, and the places of those are needed: they get 408.
func TestSlowHeadsMakeRoom(t *testing.T) {
	const most, others = 64, 8
	for name, s := range map[string]settings{
		"of the listener": {front: front.Options{MaxConns: most}},
		"of all":          {front: front.Options{Clients: front.NewClients(nil, most)}},
	} {
		t.Run(name, func(t *testing.T) {
			s.server.HeadTimeout, s.server.KeepAlive = long, long
			instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			t.Cleanup(instance.Close)
			k := newStack(t, s)
			k.service("web", []string{instance.Listener.Addr().String()}, "ingress.host=web.example.org")
			k.awaitReady()
			slow := k.fill(0, func(i int) *peer {
				c := k.dialFrom(fmt.Sprintf("127.0.2.%d", i+1))
				c.write("GET / HTTP/1.1\r\nHo")
				return c
			})
			before := k.server.Status().Recalled
			for i := range others {
				until(t, "room", func() bool { return k.server.Status().Conns < most })
				c := k.dialFrom(fmt.Sprintf("127.0.3.%d", i+1))
				c.send("GET / HTTP/1.1", "Host: web.example.org", "")
				c.status("GET", 200, "")
			}
			if st := k.server.Status(); before > most/16 || int(st.Recalled) > most/16+others {
				t.Errorf("%d connections were ended for %d others", st.Recalled, others)
			}
			answered := make(chan string, len(slow))
			for _, c := range slow {
				go func() {
					line, _ := c.r.ReadString('\n')
					answered <- line
				}()
			}
			line := <-answered
			for line == "" { // the one that was refused
				line = <-answered
			}
			if line != "HTTP/1.1 408 Request Timeout\r\n" {
				t.Errorf("a slow client gets %q", line)
			}
		})
	}
}

// TestLateHeadsMakeRoom: clients that begin a head only when their silent connections were told
// to end hold their places no longer than others.
func TestLateHeadsMakeRoom(t *testing.T) {
	const most = 64
	k, o := web(t, settings{front: front.Options{MaxConns: most}, server: http1.Options{HeadTimeout: long, KeepAlive: long}})
	silent := k.fill(0, func(i int) *peer { return k.dialFrom(fmt.Sprintf("127.0.2.%d", i+1)) })
	until(t, "them to be told", func() bool { return k.server.Status().Recalled >= most/16 })
	for _, c := range silent {
		c.Write([]byte("GET / HTTP/1.1\r\nHo")) // one was refused
	}
	until(t, "room", func() bool { return k.server.Status().Conns < most })
	c := k.dialFrom("127.0.3.1")
	c.send("GET / HTTP/1.1", "Host: web.example.org", "")
	o.next().ok("x")
	c.status("GET", 200, "")
}

// TestLastRequestIsTold: a client whose silent connection was told to make room, and that sends
// a request just then, is told that it is the last one.
func TestLastRequestIsTold(t *testing.T) {
	const most = 64
	instance := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(instance.Close)
	inTime(t, func() error {
		k := newStack(t, settings{front: front.Options{MaxConns: most}, server: http1.Options{HeadTimeout: long, KeepAlive: long}})
		k.service("web", []string{instance.Listener.Addr().String()}, "ingress.host=web.example.org")
		k.awaitReady()
		silent := k.fill(0, func(i int) *peer { return k.dialFrom(fmt.Sprintf("127.0.2.%d", i+1)) })
		until(t, "them to be told", func() bool { return k.server.Status().Recalled >= most/16 })
		for _, c := range silent {
			io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n") // one was refused
		}
		told := 0
		for _, c := range silent[:most] {
			answer, err := http.ReadResponse(c.r, nil)
			if err != nil {
				return err
			}
			if answer.Close {
				told++
			}
		}
		if told != most/16 {
			return fmt.Errorf("%d clients were told, want %d", told, most/16)
		}
		return nil
	})
}
