package socket_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"serai/wire/socket"
)

// pair returns both ends of a connection.
func pair(t *testing.T) (server *socket.Conn, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return socket.NewConn(s), c.(*net.TCPConn)
}

// TestFinishWaitsForASlowPeer for longer than Quiet, as long as the peer goes on
// acknowledging, whatever it sends meanwhile.
func TestFinishWaitsForASlowPeer(t *testing.T) {
	s, c := pair(t)
	c.SetReadBuffer(16 << 10)
	const size = 2 << 20
	var writing sync.WaitGroup
	writing.Go(func() {
		s.Write(make([]byte, size))
		s.Finish(socket.Lingering{Bytes: 1 << 20, Quiet: 2 * time.Second, Longest: time.Minute})
	})
	defer writing.Wait()
	got := 0
	for b := make([]byte, 64<<10); ; {
		n, err := io.ReadFull(c, b)
		got += n
		if err != nil {
			break
		}
		io.WriteString(c, "x")
		time.Sleep(100 * time.Millisecond)
	}
	if got != size {
		t.Errorf("%d bytes of %d", got, size)
	}
}

// TestFinishEnds although the peer does not: it acknowledges nothing, sends without
// end, or is silent once it has acknowledged everything.
func TestFinishEnds(t *testing.T) {
	bounds := socket.Lingering{Bytes: 1 << 20, Quiet: 100 * time.Millisecond, Longest: time.Minute}
	expecting := bounds
	expecting.Expected = true
	for name, v := range map[string]struct {
		bounds socket.Lingering
		sent   int
		client func(*net.TCPConn)
	}{
		"takes nothing": {bounds, 1 << 17, func(*net.TCPConn) {}},
		"sends on":      {expecting, 100, func(c *net.TCPConn) { io.Copy(c, endless{}) }},
		"trickles":      {expecting, 100, func(c *net.TCPConn) { io.Copy(slow{c}, endless{}) }},
		"silent":        {expecting, 100, func(*net.TCPConn) {}},
		"acknowledged":  {bounds, 100, func(*net.TCPConn) {}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := pair(t)
			c.SetReadBuffer(4 << 10)
			s.Write(make([]byte, v.sent))
			var client sync.WaitGroup
			client.Go(func() { v.client(c) })
			began := time.Now()
			s.Finish(v.bounds)
			if d := time.Since(began); d > 30*time.Second {
				t.Errorf("it took %v", d)
			}
			c.Close()
			client.Wait()
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// slow writes a byte at a time.
type slow struct{ io.Writer }

func (s slow) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := s.Writer.Write(p[i : i+1]); err != nil {
			return i, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return len(p), nil
}
