package proxy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"serai/proxy"
	"serai/router"
	"serai/upstream"
	"serai/wire"
)

// logged returns the lines that a log writes for exchanges.
func logged(t *testing.T, set func(*proxy.AccessLog), all ...*proxy.Exchange) (lines []map[string]any) {
	t.Helper()
	var w record
	l := proxy.NewAccessLog(&w, 1)
	set(l)
	logged := written(t, l, &w, func() {
		for _, x := range all {
			l.Log(x)
		}
	})
	for text := range strings.Lines(logged) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatalf("this line is no JSON: %v\n%s", err, text)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestQueriesInTheLog are as the operator wants them.
func TestQueriesInTheLog(t *testing.T) {
	for _, c := range []struct{ target, off, redact string }{
		{"/a?token=s3cret&x=1", "/a", "/a?token=-&x=-"},
		{"/a", "/a", "/a"},
		{"/a?", "/a", "/a"},
		{"/a?s3cret", "/a", "/a?-"},
		{"/a?a=b=c&&d", "/a", "/a?a=-&-&-"},
		{`/a?"q"=s3cret`, "/a", `/a?"q"=-`},
		{"http://a.test/b?t=s3cret", "http://a.test/b", "http://a.test/b?t=-"},
		{"?t=s3cret", "", ""},
		{"/" + strings.Repeat("x", 3000) + "?t=s3cret", "/" + strings.Repeat("x", 2047), "/" + strings.Repeat("x", 2047)},
	} {
		for _, q := range []proxy.Query{proxy.QueryOff, proxy.QueryRedact, proxy.QueryOn, ""} {
			want := map[proxy.Query]string{proxy.QueryOff: c.off, proxy.QueryRedact: c.redact}[q]
			if q == proxy.QueryOn || q == "" {
				want = c.target[:min(len(c.target), 2048)]
			}
			line := logged(t, func(l *proxy.AccessLog) { l.Query = q }, ended(200, "", c.target))[0]
			if got, _ := line["path"].(string); got != want {
				t.Errorf("%.40s with %q is logged as %.60q, want %.60q", c.target, q, got, want)
			}
		}
	}
}

// TestRedactedQueriesAreBounded: many names make no line without end.
func TestRedactedQueriesAreBounded(t *testing.T) {
	line := logged(t, func(l *proxy.AccessLog) { l.Query = proxy.QueryRedact }, ended(200, "", "/?"+strings.Repeat("a=b&", 100_000)))[0]
	if n := len(line["path"].(string)); n > 3*2048 {
		t.Errorf("a path of %d bytes", n)
	}
}

// TestFieldsOfALine: the user agent is there, and what is not known is not.
func TestFieldsOfALine(t *testing.T) {
	nothing := &proxy.Exchange{Start: time.Now(), Status: 400, Reason: "bad-head", Peer: netip.MustParseAddrPort("198.51.100.7:4711")}
	agent := ended(200, "", "/")
	agent.Head.Major, agent.Head.Minor = 2, 1
	agent.Head.Fields = []wire.Field{{Name: []byte("User-Agent"), Value: []byte(`curl/8 "x"`)}}
	r := upstream.NewRegistry(upstream.RegistryOptions{})
	endpoint := r.Acquire(upstream.Target{Address: "10.0.0.3:80", Instance: "a"})
	defer r.Release(endpoint)
	served := ended(200, "", "/")
	served.Route, served.Member = &router.Route{Common: &router.Common{Namespace: "shop", Service: "web"}}, &upstream.Member{Endpoint: endpoint, Alloc: "alloc"}
	lines := logged(t, func(*proxy.AccessLog) {}, nothing, agent, served)
	if got := lines[1]["user_agent"]; got != `curl/8 "x"` {
		t.Errorf("the user agent is %v", got)
	}
	if lines[1]["protocol"] != "HTTP/2.0" || lines[2]["protocol"] != "HTTP/1.1" {
		t.Errorf("the protocols are %v and %v", lines[1]["protocol"], lines[2]["protocol"])
	}
	for _, line := range lines {
		for name, value := range line {
			if value == "" || value == nil {
				t.Errorf("field %s of %v is empty", name, line)
			}
		}
	}
	for _, name := range []string{"request_id", "client", "host", "method", "path", "protocol", "user_agent", "namespace", "alloc", "queued", "connect", "first_byte", "retries"} {
		if value, ok := lines[0][name]; ok {
			t.Errorf("a request that was never read has %s=%v", name, value)
		}
	}
	for name, want := range map[string]any{"namespace": "shop", "service": "web", "alloc": "alloc", "instance": "10.0.0.3:80", "queued": 0.0015, "first_byte": 2.0, "retries": 0.0} {
		if lines[2][name] != want {
			t.Errorf("%s is %v, want %v", name, lines[2][name], want)
		}
	}
}

// TestChecksAreNotLogged unless the operator wants them.
func TestChecksAreNotLogged(t *testing.T) {
	check, failed := ended(200, "", "/.serai/ready"), ended(503, "not-ready", "/.serai/ready")
	check.Check, failed.Check = true, true
	for _, want := range []bool{false, true} {
		if n := len(logged(t, func(l *proxy.AccessLog) { l.Checks = want }, check, failed)); n != map[bool]int{false: 0, true: 2}[want] {
			t.Errorf("checks wanted: %v, and %d lines", want, n)
		}
	}
}

// tearing is a disk that has room for a part of what is written, once.
type tearing struct {
	record
	torn bool
}

func (w *tearing) Write(p []byte) (int, error) {
	if !w.torn && len(p) > 10 {
		w.torn = true
		n, _ := w.record.Write(p[:len(p)-7])
		return n, errors.New("no space left on device")
	}
	return w.record.Write(p)
}

// TestTornLinesStandAlone: the rest of a line that could not be written does not
// spoil the next one, and no line is divided over two writes.
func TestTornLinesStandAlone(t *testing.T) {
	w := &tearing{}
	l := proxy.NewAccessLog(w, 1)
	text := written(t, l, w, func() {
		l.Log(ended(200, "", "/torn"))
		for l.Dropped() == 0 {
			time.Sleep(time.Millisecond)
		}
		l.Log(ended(200, "", "/whole"))
	})
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) != 2 || !json.Valid([]byte(lines[1])) || !strings.Contains(lines[1], "/whole") {
		t.Errorf("the log holds %q", lines)
	}

	var chunks chunks
	l = proxy.NewAccessLog(&chunks, 1)
	written(t, l, &chunks, func() {
		for range 500 {
			l.Log(ended(200, "", "/"+strings.Repeat("x", 1000)))
		}
	})
	for _, c := range chunks.all {
		if !strings.HasPrefix(c, "{") || !strings.HasSuffix(c, "}\n") {
			t.Errorf("a write begins with %.20q and ends with %q", c, c[len(c)-10:])
		}
	}
}

// chunks keeps what is written, write by write.
type chunks struct {
	record
	all []string
}

func (c *chunks) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.all = append(c.all, string(p))
	c.mu.Unlock()
	return c.record.Write(p)
}

// broken fails always.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestLossesAreToldOnceAMinute: with how many there were since.
func TestLossesAreToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		l := proxy.NewAccessLog(broken{}, 1)
		l.Logger = slog.New(slog.NewTextHandler(&told, nil))
		run(l, func() {
			for range 150 {
				l.Log(ended(200, "", "/"))
				time.Sleep(time.Second)
			}
		})
		var lines []string
		for line := range strings.Lines(told.String()) {
			_, after, _ := strings.Cut(line, " lines=")
			lines = append(lines, strings.Fields(after)[0])
		}
		if got := strings.Join(lines, " "); got != "1 60 60" {
			t.Errorf("told of %s lines, want 1 60 60:\n%s", got, told.String())
		}
		if n := l.Dropped(); n != 150 {
			t.Errorf("%d lines were counted, want 150", n)
		}
	})
}

// TestASlowLogIsToldOnceAMinute: lines that found no room in the queue, also where
// whoever takes them never comes back.
func TestASlowLogIsToldOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told record
		r, w := io.Pipe()
		l := proxy.NewAccessLog(w, 1)
		l.Logger = slog.New(slog.NewTextHandler(&told, nil))
		run(l, func() {
			lose := func() {
				for before := l.Dropped(); l.Dropped() == before; {
					l.Log(ended(200, "", "/"))
				}
				synctest.Wait() // until whoever writes waits, too
			}
			lose()
			lose()
			first := l.Dropped()
			time.Sleep(10*time.Minute + time.Second)
			synctest.Wait()
			if text := told.text(); strings.Count(text, "\n") != 1 || !strings.Contains(text, fmt.Sprintf(" lines=%d\n", first)) {
				t.Errorf("told of %d lines: %s", first, text)
			}
			lose()
			time.Sleep(time.Minute)
			synctest.Wait()
			if text := told.text(); strings.Count(text, "\n") != 2 || !strings.Contains(text, " lines=1\n") {
				t.Errorf("told of another line: %s", text)
			}
		})
		r.Close()
	})
}
