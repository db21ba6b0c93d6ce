package front_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"serai/front"
)

// places are the connections of the servers below: the last sixteenth is four, half of it two.
const places = 64

// serveCrowd runs a server whose clients connect from addresses of the loopback, or through a load
// balancer that names them.
func serveCrowd(t *testing.T, o front.Options) *crowd {
	t.Helper()
	s, address := serveOver(t, o, func(l net.Listener) net.Listener {
		return front.AcceptProxyProtocol(l, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, long)
	})
	return &crowd{t, s, address}
}

// crowd are many clients of a server.
type crowd struct {
	t       *testing.T
	server  *front.Server
	address string
}

// come connects as a client, and returns its connection; nil when it is refused. An address that is
// not the loopback's comes through the balancer.
func (w *crowd) come(client string) net.Conn {
	w.t.Helper()
	from := netip.MustParseAddr(client)
	if !from.IsLoopback() {
		return w.name(dial(w.t, w.address), from)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}
	c, err := d.Dial("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return open(c)
}

// name has the balancer say whose connection it is, and returns it; nil when it is refused.
func (w *crowd) name(c net.Conn, client netip.Addr) net.Conn {
	family, server := "TCP4", "192.0.2.1"
	if client.Is6() {
		family, server = "TCP6", "2001:db8::1"
	}
	fmt.Fprintf(c, "PROXY %s %s %s 1 80\r\n", family, client, server)
	return open(c)
}

// open returns c if it is served, and otherwise nil.
func open(c net.Conn) net.Conn {
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		c.Close()
		return nil
	}
	return c
}

// leave ends a connection, and waits until its place is free.
func (w *crowd) leave(c net.Conn) {
	w.t.Helper()
	before := w.server.Status().Conns
	c.Close()
	until(w.t, "a place to be free", func() bool { return w.server.Status().Conns < before })
}

// fill takes places for clients whose addresses pattern makes of numbers, until so many are taken.
func (w *crowd) fill(pattern string, taken int) (all []net.Conn) {
	w.t.Helper()
	for i := w.server.Status().Conns; i < taken; i++ {
		c := w.come(fmt.Sprintf(pattern, i+1))
		if c == nil {
			w.t.Fatalf("no place for client %d", i)
		}
		all = append(all, c)
	}
	return all
}

// limits are a listener's limit and one of all listeners.
func limits(t *testing.T, test func(t *testing.T, o front.Options)) {
	for name, o := range map[string]front.Options{
		"of the listener": {MaxConns: places}, "of all": {Clients: front.NewClients(nil, places)},
	} {
		t.Run(name, func(t *testing.T) {
			o.Engines = map[string]front.Engine{"": &echoes{}}
			test(t, o)
		})
	}
}

// TestNewcomersComeFirst: of the last places that become free, half are for those who were not
// refused lately.
func TestNewcomersComeFirst(t *testing.T) {
	limits(t, func(t *testing.T, o front.Options) {
		w := serveCrowd(t, o)
		all := w.fill("127.0.2.%d", places)
		const refused = "127.0.3.1"
		if w.come(refused) != nil {
			t.Fatal("more places than there are")
		}
		w.leave(all[0])
		if w.come(refused) != nil {
			t.Error("one who was refused has taken the last place")
		}
		if w.come("127.0.3.2") == nil {
			t.Error("no place for one who comes for the first time")
		}
		for _, c := range all[1:4] {
			w.leave(c)
		}
		if w.come(refused) == nil {
			t.Error("no place for one who was refused, though three are free")
		}
	})
}

// TestManyOfOneAddress: an address that has connections, and gets no more, has not been turned
// away.
func TestManyOfOneAddress(t *testing.T) {
	limits(t, func(t *testing.T, o front.Options) {
		w := serveCrowd(t, o)
		const shared = "127.0.3.1"
		first, second := w.come(shared), w.come(shared)
		w.fill("127.0.2.%d", places)
		if w.come(shared) != nil {
			t.Fatal("more places than there are")
		}
		w.leave(first)
		w.leave(second)
		w.fill("127.0.4.%d", places-1)
		if w.come(shared) == nil {
			t.Error("no place for the address when it has no connection")
		}
	})
}

// leaves is an engine whose connections make room, as many as may.
type leaves struct {
	echoes
	may atomic.Int64
}

type leaving struct {
	echo
	engine *leaves
}

func (e *leaves) Open(c *front.Conn) front.Session { return &leaving{echo{c}, e} }

func (s *leaving) Check(time.Time) {
	if s.engine.may.Load() > 0 && s.c.MakesPlace() {
		s.engine.may.Add(-1)
		s.c.Socket.Interrupt()
	}
}

// TestWhoMadeRoomComesLater: a client that had to make room for others does not take the last
// places from those who come for the first time. A client is the /64 of an IPv6 address, and
// behind a load balancer the one that it names.
func TestWhoMadeRoomComesLater(t *testing.T) {
	limits(t, func(t *testing.T, o front.Options) {
		e := &leaves{}
		o.Engines = map[string]front.Engine{"": e}
		w := serveCrowd(t, o)
		made := make(chan int, places)
		for i, c := range w.fill("2001:db8:0:%x::1", places-places/16+1) {
			go func() {
				c.Read(make([]byte, 1))
				made <- i + 1
			}()
		}
		e.may.Store(1)
		one := <-made
		until(t, "its place to be free", func() bool { return w.server.Status().Conns == places-places/16 })
		w.fill("2001:db8:1:%x::1", places-places/32)
		if w.come(fmt.Sprintf("2001:db8:0:%x::2", one)) != nil {
			t.Error("one who made room has taken one of the last places")
		}
		for _, newcomer := range []string{"2001:db8:2::1", "203.0.113.1"} {
			if w.come(newcomer) == nil {
				t.Errorf("no place for %s, who comes for the first time", newcomer)
			}
		}
	})
}

// TestUnnamedClientsWait: of several clients whose load balancer has not named them yet, none is
// refused as long as there are places.
func TestUnnamedClientsWait(t *testing.T) {
	limits(t, func(t *testing.T, o front.Options) {
		w := serveCrowd(t, o)
		w.fill("198.51.100.%d", places-3)
		var unnamed []net.Conn
		for i := range 3 {
			unnamed = append(unnamed, dial(t, w.address))
			until(t, "its count", func() bool { st := w.server.Status(); return st.Conns > places-3+i || st.Refused > 0 })
		}
		for i, c := range unnamed {
			if w.name(c, netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})) == nil {
				t.Errorf("client %d was refused", i)
			}
		}
	})
}
