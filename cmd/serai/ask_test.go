package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"serai/internal/testnet"
	"serai/nomad"
)

// says runs a command that asks a serai.
func says(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, errs bytes.Buffer
	err := run(t.Context(), args, func(string) string { return "" }, &out, &errs)
	return out.String(), err
}

// TestAskingCommands asks a running serai from the terminal: for people and for programs.
func TestAskingCommands(t *testing.T) {
	admin := testnet.Address(t)
	bad := nomad.Registration{ServiceName: "evil\x1b[2J\u202e<script>", Address: "127.0.0.1", Port: 9, Tags: []string{"ingress.host=evil.example.org", "ingress.striip=/x\x1b[31m"}}
	_, address := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=shop.example.org"), bad}, "--admin="+admin)
	until(t, "an answer of the instance", func() bool { status, _ := get(address, "shop.example.org", "/"); return status == 200 })
	for _, c := range []struct {
		args  string
		parts []string
	}{
		{"status", []string{"state         ready", "routes        1 for 1 hosts", "listener      http:"}},
		{"routes", []string{"HOST AND PATH", "shop.example.org/  default/web", "1/1"}},
		{"routes shop", []string{"shop.example.org/"}},
		{"routes nothing", []string{"no route: serai rejections says what is refused, serai events what has gone"}},
		{"instances --service=web", []string{"ADDRESS", "ready"}},
		{"rejections", []string{"why      ", "instead  ", "ingress.striip=/x"}},
		{"events", []string{"route-claimed", "started", "rejected"}},
		{"events --event=started --since=1h", []string{"started"}},
		{"explain http://shop.example.org/cart?x=1", []string{"request   GET shop.example.org/cart", "route     default/web/", "takes the request"}},
		{"explain nothing.example.org", []string{"404: no route takes this host"}},
		{"top --once", []string{"1 routes, by rate", "REQ/S"}},
	} {
		out, err := says(t, append(strings.Fields(c.args), "--admin="+admin)...)
		nothing := c.args == "explain nothing.example.org"
		if nothing {
			if !errors.Is(err, errNone) {
				t.Errorf("%s ends with %v", c.args, err)
			}
			err = nil
		}
		for _, part := range c.parts {
			if err != nil || !strings.Contains(out, part) {
				t.Errorf("%s says (%v)\n%s\nwithout %q", c.args, err, out, part)
			}
		}
		for _, r := range out {
			if r < ' ' && r != '\n' || r == '\u202e' {
				t.Errorf("%s prints %q", c.args, r)
			}
		}
		if strings.HasPrefix(c.args, "top") {
			continue
		}
		out, err = says(t, append(strings.Fields(c.args), "-json", "--admin="+admin)...)
		if nothing != errors.Is(err, errNone) || !nothing && err != nil || !json.Valid([]byte(out)) {
			t.Errorf("%s -json says %v\n%s", c.args, err, out)
		}
	}
	for args, want := range map[string]int{"explain shop.example.org": 0, "explain nothing.example.org": 3, "explain /": 2, "explain -json nothing.example.org": 3} {
		if r := seraiProgram(t, nil, append(strings.Fields(args), "--admin="+admin)...); r.status != want || (r.err == "") != (want != 2) {
			t.Errorf("%s ends with %d, want %d, and says %q", args, r.status, want, r.err)
		}
	}
	if r := seraiProgram(t, nil, "explain", "shop.example.org", "--admin="+testnet.Address(t)); r.status != 1 {
		t.Errorf("explain where nobody listens ends with %d", r.status)
	}
	if _, err := says(t, "routes", "--admin="+testnet.Address(t)); err == nil || !strings.Contains(err.Error(), "--admin names its admin address") {
		t.Errorf("where nobody listens: %v", err)
	}
	if _, err := says(t, "events", "--since=yesterday", "--admin="+admin); err == nil || !strings.Contains(err.Error(), "neither the ID of an event nor a time") {
		t.Errorf("a bad time: %v", err)
	}
}

// TestStatusFails: serai status fails where serai takes no requests, and prints all it knows,
// for people and for programs.
func TestStatusFails(t *testing.T) {
	for state, c := range map[string]struct{ answer, want string }{
		"ready":                       {`{"version": "1", "readiness": {"ready": true}}`, ""},
		"not ready":                   {`{"version": "1", "readiness": {"ready": false, "why": ["nomad *: starting"]}}`, "serai is not ready"},
		"draining":                    {`{"version": "1", "readiness": {"ready": false, "draining": true}}`, "serai is draining"},
		"draining, and ready as well": {`{"version": "1", "readiness": {"ready": true, "draining": true}}`, "serai is draining"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, c.answer) }))
		for _, flag := range []string{"", "-json"} {
			out, err := says(t, append(strings.Fields("status "+flag), "--admin="+s.Listener.Addr().String())...)
			if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
				t.Errorf("%s %s: %v", state, flag, err)
			}
			if want := strings.Split(state, ",")[0]; flag == "" && !strings.Contains(out, want) || flag != "" && out != c.answer {
				t.Errorf("%s %s prints %q", state, flag, out)
			}
		}
		s.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

// lockedBuffer is written and read by two goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.String()
}

// TestEventsFollow prints what happens while it runs: an instance goes, and comes back.
func TestEventsFollow(t *testing.T) {
	admin := testnet.Address(t)
	l, reg := byHand(t, "web", "ingress.host=shop.example.org", "ingress.check=/up", "ingress.check-interval=1s")
	at := l.Addr().String()
	l.Close()
	serveStatic(t, []nomad.Registration{reg}, "--admin="+admin)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"events", "-f", "--admin=" + admin}, func(string) string { return "" }, &out, os.Stderr)
	}()
	until(t, "the events of the start", func() bool { return strings.Contains(out.text(), "started") })
	if strings.Contains(out.text(), "instance-ready") {
		t.Fatalf("it is ready without a listener:\n%s", out.text())
	}
	back, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	go func() {
		for {
			c, err := back.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 4096)
				c.Read(buf)
				c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			}()
		}
	}()
	until(t, "its readiness", func() bool { return strings.Contains(out.text(), "instance-ready") })
	back.Close()
	until(t, "its loss", func() bool { return strings.Contains(out.text(), "instance-lost") })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}
