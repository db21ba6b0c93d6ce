package http1_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"serai/proxy/http1"
)

// overlays are the ways in which a client may reach the data path.
func overlays(t *testing.T) map[string]settings {
	return map[string]settings{"plain": {}, "TLS": {wrap: overTLS(t)}}
}

// connect dials, over TLS when the settings say so.
func (k *stack) connect(s settings) *peer {
	c := k.dial()
	if s.wrap != nil {
		c.Conn = tlsClient(c.Conn)
		c.r = bufio.NewReader(c.Conn)
	}
	return c
}

// TestWholeAnswerWhateverTheClientSends: an answer that ends its connection
// comes whole, though the client sends something behind its request while the
// answer is still on its way.
func TestWholeAnswerWhateverTheClientSends(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	for name, request := range map[string]string{
		"close":    "GET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n",
		"HTTP/1.0": "GET / HTTP/1.0\r\nHost: web.example.org\r\n\r\n",
		"POST":     "POST / HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
	} {
		for _, framing := range []string{"length", "end"} {
			for over, s := range overlays(t) {
				t.Run(name+" "+framing+" "+over, func(t *testing.T) {
					t.Parallel()
					k, o := web(t, s)
					c := k.connect(s)
					c.write(request)
					p := o.next()
					p.head()
					head := "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
					if framing == "length" {
						head = "HTTP/1.1 200 OK\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n"
					}
					go func() {
						io.WriteString(p.Conn, head+body)
						p.Close()
					}()
					for range 5 {
						time.Sleep(20 * time.Millisecond)
						io.WriteString(c.Conn, "\r\n")
					}
					if _, got := c.answer("GET"); len(got) != len(body) {
						t.Errorf("%d bytes of %d", len(got), len(body))
					}
				})
			}
		}
	}
}

// TestRefusedUploadGetsItsAnswer: a client that sends all of its body before it
// reads is told why nobody wanted it.
func TestRefusedUploadGetsItsAnswer(t *testing.T) {
	for over, s := range overlays(t) {
		t.Run(over, func(t *testing.T) {
			k, _ := web(t, s)
			c := k.connect(s)
			c.write("POST / HTTP/1.1\r\nHost: nobody.example.org\r\nContent-Length: 3000000\r\n\r\n")
			body := strings.Repeat("x", 3000)
			for range 1000 {
				c.write(body)
			}
			res, _ := c.answer("POST")
			if res.StatusCode != 404 || !res.Close {
				t.Errorf("answer %s, close %v", res.Status, res.Close)
			}
		})
	}
}

// TestCutAnswerIsNotWhole: an answer that ends with its connection is cut with a
// reset, and under TLS without close_notify.
func TestCutAnswerIsNotWhole(t *testing.T) {
	for name, cut := range map[string]func(k *stack, p *peer){
		"instance": func(_ *stack, p *peer) { p.Close() },
		"drain": func(k *stack, _ *peer) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			k.server.Shutdown(ctx)
		},
	} {
		for over, s := range overlays(t) {
			t.Run(name+" "+over, func(t *testing.T) {
				k, o := web(t, s)
				c := k.connect(s)
				c.send("GET / HTTP/1.0", "Host: web.example.org", "")
				p := o.next()
				p.head()
				p.send("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "", "4", "part")
				c.head()
				c.read("part")
				cut(k, p)
				if rest, err := io.ReadAll(c.r); err == nil {
					t.Errorf("a cut answer looks whole, with %q behind", rest)
				}
			})
		}
	}
}

// TestBrokenTunnelIsReset: what is carried has no other end than that of its
// connection.
func TestBrokenTunnelIsReset(t *testing.T) {
	k, o := web(t, settings{})
	c, p := openTunnel(k, o)
	p.reset()
	if _, err := io.ReadAll(c.r); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	c, p = openTunnel(k, o)
	c.reset()
	if _, err := io.ReadAll(p.r); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the instance saw %v", err)
	}
}

// TestLingeringIsDrained: a connection that is closed and still read from is one
// that a drain waits for, not for long, and it is cut like others.
func TestLingeringIsDrained(t *testing.T) {
	k := newStack(t, settings{})
	inTime(t, func() error {
		c := k.dial()
		c.write("GET / nothing\r\n\r\n")
		c.status("GET", 400, "bad-request-line")
		defer c.Close()
		if n := k.server.Status().Conns; n == 0 {
			return errors.New("the connection has gone with its answer")
		}
		return nil
	})
	k.dial().write("GET / nothing\r\n\r\n")
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := k.server.Shutdown(ctx); err == nil {
		t.Log("the client's end was seen before the drain's")
	}
	if d := time.Since(began); d > long {
		t.Errorf("the drain took %v", d)
	}
}

// TestClientLeavesDuringADrain: departed clients are noticed until the last
// connection is gone, though nobody accepts any more.
func TestClientLeavesDuringADrain(t *testing.T) {
	k, o := web(t, settings{})
	c := k.dial()
	c.send("GET /slow HTTP/1.1", "Host: web.example.org", "")
	p := o.next()
	p.head()
	done := make(chan error, 1)
	go func() { done <- k.server.Shutdown(context.Background()) }()
	until(t, "the end of accepting", func() bool {
		n, err := net.Dial("tcp", k.address)
		if err == nil {
			n.Close()
		}
		return err != nil
	})
	time.Sleep(10 * time.Millisecond) // Serve returns
	c.Close()
	p.ended()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(long):
		t.Fatal("the drain does not end")
	}
}

// partial is the start of a TLS record.
const partial = "\x17\x03\x03"

// TestPartialRecord: the rest of a TLS record has the time of a head, not that of
// a silent connection.
func TestPartialRecord(t *testing.T) {
	o := http1.Options{HeadTimeout: 3 * time.Second, KeepAlive: time.Hour} // a handshake has the former, too
	for name, begin := range map[string]func(t *testing.T, k *stack, raw *wiretap) net.Conn{
		"first": func(t *testing.T, _ *stack, raw *wiretap) net.Conn {
			c := tlsClient(raw).(*tls.Conn)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			raw.Conn.Write([]byte(partial))
			return c
		},
		"silent before": func(t *testing.T, _ *stack, raw *wiretap) net.Conn {
			c := tlsClient(raw).(*tls.Conn)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond) // it is served by another goroutine now
			raw.Conn.Write([]byte(partial))
			return c
		},
		"behind a request": func(t *testing.T, _ *stack, raw *wiretap) net.Conn {
			c := tlsClient(raw).(*tls.Conn)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			raw.behind = partial
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: nobody.example.org\r\n\r\n")
			return c
		},
		"byte by byte": func(t *testing.T, _ *stack, raw *wiretap) net.Conn {
			c := tlsClient(raw).(*tls.Conn)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			go func() {
				for _, b := range []byte(partial + "\x40\x00" + strings.Repeat("x", 1000)) {
					if _, err := raw.Conn.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}()
			return c
		},
		"handshake": func(_ *testing.T, _ *stack, raw *wiretap) net.Conn {
			raw.Conn.Write([]byte("\x16\x03\x01"))
			return raw
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings{server: o, wrap: overTLS(t)}
			k := newStack(t, s)
			c := begin(t, k, &wiretap{Conn: k.dial().Conn})
			if _, err := io.ReadAll(c); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
				t.Errorf("the connection does not end: %v", err)
			}
		})
	}
}

func isTimeout(err error) bool {
	n, ok := err.(net.Error)
	return ok && n.Timeout()
}

// wiretap writes what is behind along with the next bytes.
type wiretap struct {
	net.Conn
	behind string
}

func (w *wiretap) Write(p []byte) (int, error) {
	b := append(append([]byte{}, p...), w.behind...)
	w.behind = ""
	if _, err := w.Conn.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TestKeepAliveInTime: a silent connection ends a tenth late at most, in whichever
// goroutine it waits.
func TestKeepAliveInTime(t *testing.T) {
	for _, limit := range []time.Duration{500 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 5 * time.Second} {
		for _, requests := range []int{0, 1, 2} {
			t.Run(limit.String()+" after "+itoa(requests), func(t *testing.T) {
				t.Parallel()
				k := newStack(t, settings{server: http1.Options{KeepAlive: limit}})
				inTime(t, func() error {
					begun := time.Now() // before serai may know of the connection
					c := k.dial()
					for i := range requests {
						if i > 0 && limit > 2*time.Second {
							time.Sleep(1200 * time.Millisecond) // another goroutine waits now
						}
						asked := time.Now()
						io.WriteString(c.Conn, "GET / HTTP/1.1\r\nHost: nobody.example.org\r\n\r\n")
						res, err := http.ReadResponse(c.r, nil)
						if late := time.Since(begun); err != nil && late > limit {
							return fmt.Errorf("the next request came after %v, too late for a limit of %v", late, limit)
						}
						if err != nil || res.StatusCode != 503 {
							t.Fatalf("the answer is %v, %v", res, err)
						}
						io.Copy(io.Discard, res.Body)
						begun = asked
					}
					c.ended()
					took := time.Since(begun)
					if took < limit {
						t.Errorf("the connection ended after %v, want %v", took, limit)
					}
					if took > limit+limit/10+300*time.Millisecond {
						return fmt.Errorf("the connection ended after %v, want %v and a tenth at most", took, limit)
					}
					return nil
				})
			})
		}
	}
}
