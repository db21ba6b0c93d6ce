package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/fasthttp/websocket"
	"github.com/valyala/fasthttp"
)

// generateCommand makes requests from a process of its own, so that it can have a core
// of its own. It prints what it saw as JSON.
type generateCommand struct {
	URL     string        `arg:"" help:"What to ask for."`
	Host    string        `default:"web.loadtest" help:"Host header."`
	Field   []string      `help:"Header field to send, NAME: VALUE." sep:"none"`
	Clients int           `help:"Send this many values of X-Client in turn."`
	Hosts   int           `help:"Ask for this many hosts in turn, h0.loadtest and so on."`
	Conns   int           `default:"64" help:"Connections."`
	For     time.Duration `default:"5s" help:"How long."`
	Rate    float64       `help:"Requests a second, at a constant rate whatever comes back; as many as go when 0."`
	Close   bool          `help:"A connection for each request."`
	Body    int           `help:"POST this many bytes."`
	Streams int           `help:"So many streams of gRPC on each connection, on which messages come back."`
}

// seen is what a generator saw.
type seen struct {
	Requests int64   `json:"requests"`
	Failed   int64   `json:"failed"`
	Bytes    int64   `json:"bytes,omitempty"` // of answers, 0 when not counted
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	P999     float64 `json:"p999_us"`
	Cause    string  `json:"cause,omitempty"` // of the first failure
}

// Run asks until the time is over.
func (g *generateCommand) Run(ctx context.Context) error {
	raiseLimit()
	ctx, cancel := context.WithTimeout(ctx, g.For)
	defer cancel()
	var s seen
	var err error
	switch {
	case strings.HasPrefix(g.URL, "ws"):
		s, err = g.echo(ctx)
	case g.Streams > 0:
		s, err = g.talk(ctx)
	default:
		s, err = g.ask(ctx)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// stopwatch collects latencies of many goroutines.
type stopwatch struct {
	mu     sync.Mutex
	all    *hdrhistogram.Histogram // microseconds
	failed atomic.Int64
	cause  atomic.Pointer[string]
	began  time.Time
}

func newStopwatch() *stopwatch {
	return &stopwatch{all: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3), began: time.Now()}
}

func (s *stopwatch) add(took time.Duration, err error) {
	if err != nil {
		s.failed.Add(1)
		text := err.Error()
		s.cause.CompareAndSwap(nil, &text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all.RecordValue(min(took.Microseconds(), s.all.HighestTrackableValue()))
}

func (s *stopwatch) seen() seen {
	r := seen{Requests: s.all.TotalCount(), Failed: s.failed.Load(), Seconds: time.Since(s.began).Seconds()}
	quantile := func(q float64) float64 { return float64(s.all.ValueAtQuantile(q)) }
	r.P50, r.P99, r.P999 = quantile(50), quantile(99), quantile(99.9)
	if c := s.cause.Load(); c != nil {
		r.Cause = *c
	}
	return r
}

// ask sends HTTP requests. With a rate, the time of a request begins when it was due,
// even if it was sent late (coordinated omission).
func (g *generateCommand) ask(ctx context.Context) (seen, error) {
	address, secure := strings.CutPrefix(g.URL, "https://")
	address = strings.TrimPrefix(address, "http://")
	address, path, _ := strings.Cut(address, "/")
	client := &fasthttp.HostClient{
		Addr: address, IsTLS: secure, TLSConfig: &tls.Config{InsecureSkipVerify: true, ServerName: g.Host}, MaxConns: g.Conns,
		MaxIdemponentCallAttempts: 1, NoDefaultUserAgentHeader: true, StreamResponseBody: true, MaxResponseBodySize: 1 << 20,
		MaxConnWaitTimeout: time.Minute,
	}
	body := body(g.Body)
	uri := "http://" + address + "/" + path
	one := func(i int64) error { return g.request(client, uri, secure, body, i) }
	watch := newStopwatch()
	var count atomic.Int64
	var running sync.WaitGroup
	if g.Rate > 0 {
		due := watch.began
		for ctx.Err() == nil {
			due = due.Add(time.Duration(float64(time.Second) / g.Rate))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
			at := due
			running.Go(func() {
				err := one(count.Add(1))
				watch.add(time.Since(at), err)
			})
		}
	} else {
		for range g.Conns {
			running.Go(func() {
				for ctx.Err() == nil {
					began := time.Now()
					err := one(count.Add(1))
					watch.add(time.Since(began), err)
				}
			})
		}
	}
	running.Wait()
	return watch.seen(), nil
}

// request sends the request with a number, and reads the answer.
func (g *generateCommand) request(client *fasthttp.HostClient, uri string, secure bool, body []byte, i int64) error {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	host := g.Host
	if g.Hosts > 0 {
		host = manyHost(int(i*7919) % g.Hosts)
	}
	q.SetRequestURI(uri)
	if secure {
		q.URI().SetScheme("https")
	}
	q.UseHostHeader = true
	q.Header.SetHost(host)
	for _, line := range g.Field {
		name, value, _ := strings.Cut(line, ": ")
		q.Header.Set(name, value)
	}
	if g.Clients > 0 {
		q.Header.Set("X-Client", fmt.Sprint("c", i*7919%int64(g.Clients)))
	}
	if g.Body > 0 {
		q.Header.SetMethod(fasthttp.MethodPost)
		q.SetBodyRaw(body)
	}
	if g.Close {
		q.SetConnectionClose()
	}
	if err := client.Do(q, a); err != nil {
		return err
	}
	if a.StatusCode() != 200 {
		return fmt.Errorf("status %d", a.StatusCode())
	}
	return a.BodyWriteTo(discard{})
}

// pace is when one of several connections sends its next message: at a rate, or at once
// without one.
type pace struct {
	due   time.Time
	every time.Duration
}

// pace returns the pace of connection i of that many.
func (g *generateCommand) pace(i, of int) *pace {
	p := &pace{due: time.Now()}
	if g.Rate > 0 {
		p.every = time.Duration(float64(of) / g.Rate * float64(time.Second))
		p.due = p.due.Add(p.every * time.Duration(i) / time.Duration(of))
	}
	return p
}

// next waits, and returns when the message was due. If it is late, that counts as its
// time.
func (p *pace) next() time.Time {
	if p.every == 0 {
		return time.Now()
	}
	p.due = p.due.Add(p.every)
	time.Sleep(time.Until(p.due))
	return p.due
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func manyHost(i int) string { return fmt.Sprintf("h%d.loadtest", i) }

// echo exchanges WebSocket messages.
func (g *generateCommand) echo(ctx context.Context) (seen, error) {
	watch := newStopwatch()
	var running sync.WaitGroup
	message := body(128)
	dialer := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	for i := range g.Conns {
		running.Go(func() {
			c, res, err := dialer.DialContext(ctx, g.URL, map[string][]string{"Host": {g.Host}})
			if err != nil {
				if res != nil {
					err = errors.Join(err, errors.New(res.Status))
				}
				watch.add(0, err)
				return
			}
			defer c.Close()
			pace := g.pace(i, g.Conns)
			for ctx.Err() == nil {
				began := pace.next()
				err := c.WriteMessage(websocket.BinaryMessage, message)
				var back []byte
				if err == nil {
					_, back, err = c.ReadMessage()
				}
				if err == nil && len(back) != len(message) {
					err = errors.New("another message came back")
				}
				watch.add(time.Since(began), err)
				if err != nil {
					return
				}
			}
		})
	}
	running.Wait()
	return watch.seen(), nil
}
