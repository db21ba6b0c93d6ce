package http1_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"serai/front"
	"serai/internal/memory"
	"serai/proxy/http1"
)

// crowd is clients at a few addresses that do the same, again and again.
type crowd struct {
	addresses []string
	each      int    // connections of an address
	begin     string // what each connection brings
	goOn      string // and then now and then, nothing for a client that only reads a byte
}

// flood runs the crowd against k until the test has ended.
func (f *crowd) flood(t *testing.T, k *stack) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for _, address := range f.addresses {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		}}
		for range f.each {
			running.Go(func() {
				for ctx.Err() == nil {
					f.one(ctx, &d, k.address)
				}
			})
		}
	}
}

// one is one connection of the crowd, to its end.
func (f *crowd) one(ctx context.Context, d *net.Dialer, address string) {
	const pause = 50 * time.Millisecond
	wait := func() {
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	defer wait() // not again at once
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	defer c.Close()
	_, err = io.WriteString(c, f.begin)
	for one := make([]byte, 1); err == nil; wait() {
		if f.goOn == "" {
			_, err = c.Read(one)
		} else {
			_, err = io.WriteString(c, f.goOn)
		}
	}
}

// TestBystandersAreServed floods a small memory with each sort of what takes it, from a few
// addresses, and with all of them at once. One who keeps and opens a connection at a
// time, at another address, gets every answer.
func TestBystandersAreServed(t *testing.T) {
	kilobytes := strings.Repeat("X-Filler: "+strings.Repeat("a", 988)+"\r\n", 60)
	post := "POST /echo HTTP/1.1\r\nHost: web.example.org\r\n"
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
	const each = 150
	sorts := map[string][]crowd{
		"endless heads":          {{begin: "GET / HTTP/1.1\r\nHost: web.example.org\r\n" + kilobytes + "X-Slow: ", goOn: "a"}},
		"small endless heads":    {{begin: "GET / HTTP/1.1\r\nHost: web.example.org\r\nX-Slow: ", goOn: "a"}},
		"uploads that stall":     {{begin: post + "Content-Length: 65536\r\n\r\n" + kilobytes, goOn: "a"}},
		"large uploads":          {{begin: post + "Content-Length: 10000000\r\n\r\n" + kilobytes, goOn: "a"}},
		"chunks":                 {{begin: chunked, goOn: "1\r\na\r\n"}},
		"chunks after an answer": {{begin: strings.Replace(chunked, "/echo", "/early", 1), goOn: "1\r\na\r\n"}},
		"slow readers":           {{begin: "GET /large HTTP/1.1\r\nHost: web.example.org\r\n\r\n"}},
		"slow instances":         {{begin: "GET /never HTTP/1.1\r\nHost: web.example.org\r\n\r\n"}},
		"idle connections":       {{begin: "GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n", each: 4 * each}},
		"silent connections":     {{each: 4 * each}},
	}
	var all []crowd
	for _, s := range sorts {
		for _, c := range s {
			c.each = each / 5
			all = append(all, c)
		}
	}
	sorts["all at once"] = all
	for name, crowds := range sorts {
		t.Run(name, func(t *testing.T) {
			b := memory.NewBudget(8 << 20)
			k := newStack(t, settings{server: http1.Options{KeepAlive: long}, front: front.Options{Clients: front.NewClients(b, 0)}})
			web := httptest.NewServer(http.HandlerFunc(serveCrowd))
			t.Cleanup(web.Close)
			k.service("web", []string{web.Listener.Addr().String()}, "ingress.host=web.example.org")
			k.awaitReady()
			for _, c := range crowds {
				c.addresses = []string{"127.0.2.1", "127.0.2.2", "127.0.2.3"}
				if c.each == 0 {
					c.each = each
				}
				c.flood(t, k)
			}
			until(t, "a flood that finds no room", func() bool {
				for _, p := range memory.Parts() {
					if _, refused := b.Taken(p); refused > 0 {
						return true
					}
				}
				return k.proxy.Reasons()["overloaded"] > 0
			})
			ask(t, k)
		})
	}
}

// serveCrowd is the instance of these tests.
func serveCrowd(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/large":
		w.Header().Set("Content-Length", "100000000")
		for b := make([]byte, 1<<16); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	case "/early":
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
	case "/never":
		<-r.Context().Done()
		return
	}
	n, _ := io.Copy(io.Discard, r.Body)
	io.WriteString(w, strconv.FormatInt(n, 10))
}

// ask sends requests with and without a body, over connections that are new and that are
// kept, each of which is to be answered.
func ask(t *testing.T, k *stack) {
	t.Helper()
	var kept *peer
	for i := range 120 {
		c := kept
		if i%2 == 0 || c == nil {
			c = k.dial()
		}
		body := strings.Repeat("a", i%4/2*20_000)
		request := fmt.Sprintf("POST /echo HTTP/1.1\r\nHost: web.example.org\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		if body == "" {
			request = "GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n"
		}
		_, err := io.WriteString(c.Conn, request)
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		res, err := http.ReadResponse(c.r, nil)
		if err != nil {
			t.Fatalf("request %d got no answer: %v", i, err)
		}
		said, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || string(said) != strconv.Itoa(len(body)) {
			t.Fatalf("request %d: %s %q %q %v", i, res.Status, res.Header.Get("X-Serai-Reason"), said, err)
		}
		if i%8 == 0 {
			if kept != nil {
				kept.Close()
			}
			kept = c
		} else if c != kept {
			c.Close()
		}
		c.r = bufio.NewReader(c.Conn)
	}
}
