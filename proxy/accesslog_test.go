package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ended is an exchange as an engine leaves it.
func ended(status int, reason, target string) *proxy.Exchange {
	x := &proxy.Exchange{Status: status, Reason: reason, Start: time.Now(), BytesIn: 1, BytesOut: 2,
		Client: netip.MustParseAddr("192.0.2.1"), Peer: netip.MustParseAddrPort("198.51.100.7:4711"),
		Queued: 1500 * time.Microsecond, FirstByte: 2 * time.Second}
	x.Head.Method, x.Head.Host, x.Head.Target = []byte("GET"), []byte("a.test"), []byte(target)
	x.Head.Minor = 1
	return x
}

// record is what w is written. Its text is safe to be read at any time.
type record struct {
	mu sync.Mutex
	bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Buffer.Write(p)
}

// run logs with l while f runs, and ends it. A writer that has much left to do is
// left behind after a second: see written.
func run(l *proxy.AccessLog, f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	f()
	cancel()
	<-done
}

// written logs with l while f runs, and returns what w was written by then. Its
// last line comes after all others.
func written(t *testing.T, l *proxy.AccessLog, w interface{ text() string }, f func()) (text string) {
	t.Helper()
	run(l, func() {
		f()
		l.Log(ended(200, "the-end", "/"))
		for end := time.Now().Add(time.Minute); !strings.Contains(w.text(), `"the-end"`); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the last line is never written: %s", w.text())
			}
		}
	})
	text = strings.TrimSuffix(w.text(), "\n")
	return text[:strings.LastIndexByte(text, '\n')+1]
}

func TestAccessLogLines(t *testing.T) {
	var w record
	l := proxy.NewAccessLog(&w, 1)
	targets := []string{"/", `/"quoted"\`, "/\x00\x1f\x7f", "/\xff\xc3\xa9", "/" + strings.Repeat("x", 10000)}
	text := written(t, l, &w, func() {
		for _, target := range targets {
			l.Log(ended(200, "", target))
		}
	})
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != len(targets) {
		t.Fatalf("%d lines for %d requests:\n%s", len(lines), len(targets), text)
	}
	for i, text := range lines {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Errorf("line %d is no JSON: %v\n%s", i, err, text)
			continue
		}
		path := line["path"].(string)
		if want := strings.ToValidUTF8(targets[i], "\uFFFD"); path != want && !(len(want) > 2048 && path == want[:2048]) {
			t.Errorf("path %q, want %q", path, want)
		}
		for name, want := range map[string]any{"status": 200.0, "client": "192.0.2.1", "peer": "198.51.100.7:4711",
			"host": "a.test", "method": "GET", "bytes_in": 1.0, "bytes_out": 2.0} {
			if line[name] != want {
				t.Errorf("%s is %v, want %v", name, line[name], want)
			}
		}
	}
}

func TestAccessLogSamples(t *testing.T) {
	for _, c := range []struct {
		sample   float64
		status   int
		reason   string
		min, max int
	}{
		{0, 200, "", 0, 0}, {0, 404, "", 0, 0},
		{0, 404, "no-host", 1000, 1000}, {0, 500, "", 1000, 1000}, {0, 0, "client-gone", 1000, 1000},
		{0.5, 200, "", 300, 700}, {1, 200, "", 1000, 1000},
	} {
		var w record
		l := proxy.NewAccessLog(&w, c.sample)
		text := written(t, l, &w, func() {
			for range 1000 {
				l.Log(ended(c.status, c.reason, "/"))
			}
		})
		if n := strings.Count(text, "\n"); n < c.min || n > c.max {
			t.Errorf("share %v: %d of 1000 requests with status %d and reason %q have a line", c.sample, n, c.status, c.reason)
		}
	}
}

// failing is a disk that is full for a while.
type failing struct {
	record
	full bool
}

func (f *failing) Write(p []byte) (int, error) {
	f.mu.Lock()
	full := f.full
	f.mu.Unlock()
	if full {
		return 0, errors.New("no space left on device")
	}
	return f.record.Write(p)
}

func (f *failing) set(full bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.full = full
}

func TestAFullDiskLosesLines(t *testing.T) {
	w := &failing{full: true}
	l := proxy.NewAccessLog(w, 1)
	run(l, func() {
		for l.Dropped() == 0 {
			l.Log(ended(200, "", "/lost"))
			time.Sleep(time.Millisecond)
		}
		w.set(false)
		for !strings.Contains(w.text(), "/kept") {
			l.Log(ended(200, "", "/kept"))
			time.Sleep(time.Millisecond)
		}
	})
}

func (r *record) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.String()
}

// TestAPipeThatNobodyReads neither holds up a request nor the end.
func TestAPipeThatNobodyReads(t *testing.T) {
	r, w := io.Pipe()
	l := proxy.NewAccessLog(w, 1)
	run(l, func() {
		for l.Dropped() == 0 {
			l.Log(ended(200, "", "/"))
		}
	})
	r.Close() // what writes ends with it
}
