package proxy_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"serai/proxy"
	"serai/upstream"
	"serai/wire"
)

// script is what the instances of a service do with one attempt after another,
// without sockets: a failure each, and then an answer.
type script struct {
	mu       sync.Mutex
	failures []*upstream.Failure
	pulls    bool     // each attempt takes the rest of the body
	asked    []string // the addresses, in order
	fresh    []bool   // whether each was to use a new connection
	ended    int      // answers that were read to their end
}

// registry has endpoints that are ready, and play the script.
func (s *script) registry() upstream.RegistryOptions {
	return upstream.RegistryOptions{
		Probe:     func(context.Context, *upstream.Endpoint) error { return nil },
		Transport: func(e *upstream.Endpoint, _ upstream.Keeping) upstream.Transport { return &played{s, e} },
	}
}

type played struct {
	*script
	e *upstream.Endpoint
}

func (p *played) RoundTrip(r *upstream.Request, a *upstream.Answer) *upstream.Failure {
	a.Stream, a.Now, a.Connected, a.FirstByte = nil, r.Now, 0, 0
	p.mu.Lock()
	n := len(p.asked)
	p.asked, p.fresh = append(p.asked, p.e.Target().Address), append(p.fresh, r.Fresh)
	p.mu.Unlock()
	s := &short{script: p.script}
	if !r.Caller.Hold(s) {
		return &upstream.Failure{Kind: upstream.FailedCaller, Err: errors.New("not wanted")}
	}
	for p.pulls && !r.Complete {
		if _, err := r.Body.Next(); err != nil {
			if err != io.EOF {
				return &upstream.Failure{Kind: upstream.FailedBody, Processing: upstream.Unknown, Err: err}
			}
			break
		}
	}
	if n < len(p.failures) {
		return p.failures[n]
	}
	a.Head = wire.ResponseHead{Status: 200, Minor: 1, Framing: wire.Length, Size: 2}
	a.Stream, a.FirstByte = s, time.Millisecond
	return nil
}
func (*played) Keep(c net.Conn)                  { c.Close() }
func (*played) Sweep(time.Time)                  {}
func (*played) CloseIdle(time.Time, int) int     { return 0 }
func (*played) Status() upstream.TransportStatus { return upstream.TransportStatus{} }

// short is an answer of two bytes.
type short struct {
	*script
	read bool
}

func (s *short) Next() ([]byte, error) {
	if s.read {
		return nil, io.EOF
	}
	s.read = true
	return []byte("ok"), nil
}
func (s *short) Ready() bool                       { return !s.read }
func (s *short) Done() bool                        { return s.read }
func (*short) Trailers() []wire.Field              { return nil }
func (*short) ReadWithin(time.Time, time.Duration) {}
func (*short) Interrupt()                          {}
func (*short) CheckPath()                          {}
func (s *short) End(whole bool) (now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if whole {
		s.ended++
	}
	return time.Now()
}

var three = []string{"192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80"}

// TestAttempts: what is known of processing, and nothing else, decides whether an
// instance is asked after another.
func TestAttempts(t *testing.T) {
	failed := func(p upstream.Processing, times int) (all []*upstream.Failure) {
		for range times {
			all = append(all, &upstream.Failure{Kind: upstream.FailedClosed, Processing: p, Err: io.EOF})
		}
		return all
	}
	const notSent, refused, unknown, answered = upstream.NotSent, upstream.Refused, upstream.Unknown, upstream.Answered
	for name, c := range map[string]struct {
		request  request
		tags     []string
		failures []*upstream.Failure
		pulls    bool
		asked    int // instances
		status   int
	}{
		"GET":                              {request: get(), asked: 1, status: 200},
		"GET, not sent":                    {request: get(), failures: failed(notSent, 2), asked: 3, status: 200},
		"POST, not sent":                   {request: post(4, "body"), failures: failed(notSent, 2), asked: 3, status: 200},
		"POST, not sent, without retries":  {request: post(4, "body"), tags: []string{"ingress.retries=0"}, failures: failed(notSent, 2), asked: 3, status: 200},
		"POST, never sent":                 {request: post(4, "body"), failures: failed(notSent, 100), asked: 9, status: 502},
		"POST, refused":                    {request: post(4, "body"), tags: []string{"ingress.retries=2"}, failures: failed(refused, 2), asked: 3, status: 200},
		"POST, refused, without retries":   {request: post(4, "body"), tags: []string{"ingress.retries=0"}, failures: failed(refused, 1), asked: 1, status: 502},
		"POST, refused too often":          {request: post(4, "body"), tags: []string{"ingress.retries=1"}, failures: failed(refused, 9), asked: 2, status: 502},
		"GET, unknown":                     {request: get(), tags: []string{"ingress.retries=1"}, failures: failed(unknown, 1), asked: 2, status: 200},
		"GET, unknown too often":           {request: get(), tags: []string{"ingress.retries=2"}, failures: failed(unknown, 9), asked: 3, status: 502},
		"POST, unknown":                    {request: post(4, "body"), tags: []string{"ingress.retries=9"}, failures: failed(unknown, 1), asked: 1, status: 502},
		"POST of a route that allows it":   {request: post(4, "body"), tags: []string{"ingress.retry-post=on"}, failures: failed(unknown, 1), asked: 2, status: 200},
		"GET, answered":                    {request: get(), tags: []string{"ingress.retries=9"}, failures: failed(answered, 1), asked: 1, status: 502},
		"not sent, then unknown":           {request: post(4, "body"), failures: append(failed(notSent, 1), failed(unknown, 1)...), asked: 2, status: 502},
		"streamed, not sent":               {request: post(-1, "body"), failures: failed(notSent, 1), asked: 2, status: 200},
		"streamed, refused without a look": {request: post(-1, "body"), failures: failed(refused, 1), asked: 2, status: 200},
		"streamed, and part of it is gone": {request: post(-1, "body"), failures: failed(refused, 1), pulls: true, asked: 1, status: 502},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{failures: c.failures, pulls: c.pulls}
			n := newNode(t, proxy.Options{}, s.registry(), three, append([]string{"ingress.lb=round-robin"}, c.tags...)...)
			k := (&memory{proxy: n.proxy}).open(t, c.request)
			if c.pulls {
				until(t, "the attempt", func() bool {
					s.mu.Lock()
					defer s.mu.Unlock()
					return len(s.asked) == 1
				})
				k.finish()
			}
			if h := k.head(); h == nil || h.status != c.status {
				t.Errorf("answered %+v, want %d", h, c.status)
			}
			k.rest()
			until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
			if len(s.asked) != c.asked {
				t.Errorf("asked %v, want %d", s.asked, c.asked)
			}
			some := slices.Compact(slices.Sorted(slices.Values(s.asked)))
			if len(some) != min(c.asked, len(three)) {
				t.Errorf("asked %v: one again before all others", s.asked)
			}
			for i, fresh := range s.fresh {
				if fresh != (i > 0) {
					t.Errorf("attempt %d asks for a new connection: %v", i, fresh)
				}
			}
			if ended := s.ended; c.status == 200 != (ended == 1) {
				t.Errorf("%d answers were read to their end", ended)
			}
			for _, e := range n.registry.All() {
				if e.Inflight() != 0 {
					t.Errorf("a place at %s is not given back", e.Target().Address)
				}
			}
		})
	}
}

// TestFailures: what each kind of failure means for the client, and whether the
// instance is blamed for it.
func TestFailures(t *testing.T) {
	handshake := &upstream.HandshakeError{Cause: "it does not speak TLS"}
	ofName := &upstream.HandshakeError{Cause: "its certificate is not for a.test", OfName: true, Err: x509.HostnameError{}}
	for name, c := range map[string]struct {
		kind   upstream.FailureKind
		err    error
		want   string // status, reason and detail
		blamed bool
	}{
		"descriptor":       {upstream.FailedDescriptor, upstream.ErrNoDescriptor, "503 no-descriptor: no more connections to instances can be made", false},
		"connect":          {upstream.FailedConnect, upstream.ErrConnect, "502 connect-failed: no connection to the instance could be made", false},
		"handshake":        {upstream.FailedHandshake, handshake, "502 tls-failed: no TLS connection to the instance could be made: it does not speak TLS", true},
		"handshake's name": {upstream.FailedHandshake, ofName, "502 tls-failed: no TLS connection to the instance could be made: its certificate is not for a.test", true},
		"body":             {upstream.FailedBody, wire.ErrBodyCut, "0 client-gone: ", false},
		"malformed body":   {upstream.FailedBody, wire.ErrChunkSize, "400 bad-chunk-size: " + wire.ErrChunkSize.Detail, false},
		"slow body":        {upstream.FailedBody, os.ErrDeadlineExceeded, "408 body-timeout: the request's body did not come in time", false},
		"caller":           {upstream.FailedCaller, io.EOF, "0 client-gone: ", false},
		"path":             {upstream.FailedPath, errors.New("it is cut"), "502 upstream-lost: it is cut", false},
		"answer":           {upstream.FailedAnswer, wire.ErrStatusLine, "502 bad-answer: the instance's answer is malformed: bad-status-line", true},
		"answer's field":   {upstream.FailedAnswer, &wire.FieldError{Err: wire.ErrFold, Line: 2, Name: "X"}, "502 bad-answer: the instance's answer is malformed: obs-fold in field line 2, X", true},
		"interim":          {upstream.FailedInterim, errors.New("too many"), "502 too-many-interim: too many", true},
		"switch":           {upstream.FailedSwitch, errors.New("why"), "502 bad-answer: why", true},
		"timeout":          {upstream.FailedTimeout, os.ErrDeadlineExceeded, "504 upstream-timeout: the instance did not answer in time", true},
		"closed":           {upstream.FailedClosed, io.EOF, "502 upstream-closed: the instance closed the connection before it answered", true},
		"closed when idle": {upstream.FailedIdle, io.EOF, "502 upstream-closed: the instance closed the connection before it answered", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{failures: []*upstream.Failure{{Kind: c.kind, Processing: upstream.Answered, Err: c.err}}}
			ro := s.registry()
			ro.EjectAfter, ro.EjectTime = 1, time.Hour
			n := newNode(t, proxy.Options{}, ro, three[:2])
			k := (&memory{proxy: n.proxy}).open(t, get())
			got := "0 "
			if h := k.head(); h != nil {
				body, _, _ := k.rest()
				reason := h.fields.Get("X-Serai-Reason")
				got = fmt.Sprintf("%d %s: %s", h.status, reason, body[4:len(body)-len(" ()\n")-len(reason)])
			}
			until(t, "the end of the request", func() bool { return n.proxy.Inflight() == 0 })
			if got == "0 " {
				for reason := range n.proxy.Reasons() {
					got += reason + ": "
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			blamed := slices.ContainsFunc(n.registry.All(), func(e *upstream.Endpoint) bool { return e.State() == upstream.Ejected })
			if blamed != c.blamed {
				t.Errorf("an instance was blamed: %v, want %v", blamed, c.blamed)
			}
		})
	}
}
