// Package http2 answers: how does HTTP/2 reach the proxy?
//
// It is an engine of package front, like proxy/http1. One goroutine reads a connection,
// decodes its frames, and never waits for an instance, nor for the client to accept
// anything. Each stream has a goroutine that serves its Exchange. A goroutine that has
// frames appends them to the output, and one of them writes everything.
package http2

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"serai/front"
	"serai/proxy"
	"serai/wire"
	"serai/wire/http2"
	"serai/wire/socket"
)

// Options are the options of an Engine. Zero values mean the defaults given here.
type Options struct {
	// Limits bound request heads, as in HTTP/1; zero means wire.DefaultLimits.
	Limits wire.Limits
	// HeadTimeout bounds the time for a head, and for any frame but DATA, from its first
	// byte, 10s. BodyIdle, KeepAlive, WriteIdle and MinRate are those of HTTP/1.
	HeadTimeout, BodyIdle, KeepAlive, WriteIdle time.Duration
	MinRate                                     int
	// MaxStreams bounds the requests in flight on one connection, 128.
	MaxStreams int
	// StreamWindow is how many bytes of a request's body may come before they are read,
	// 65536 and at most that. ConnWindow is the same for all requests of a connection, 1
	// MiB.
	StreamWindow, ConnWindow int
	// StreamIdle bounds the silence of a client whose answer has begun, 1h.
	StreamIdle time.Duration
	// Resets is how many streams of a connection may end per second by a reset or
	// because they are malformed, 50. Controls is how many frames without content may
	// come per second, 100. Both are averages over ten seconds.
	Resets, Controls int
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	if o.HeadTimeout < 0 || o.BodyIdle < 0 || o.KeepAlive < 0 || o.WriteIdle < 0 || o.StreamIdle < 0 {
		errs = append(errs, errors.New("a timeout is negative"))
	}
	if o.Limits.Head < 0 || o.Limits.Head > socket.LargeBuffer {
		errs = append(errs, fmt.Errorf("head limit %d is not within 1 and %d bytes", o.Limits.Head, socket.LargeBuffer))
	}
	for _, l := range []struct {
		name              string
		value, low, large int
	}{
		{"streams of a connection", o.MaxStreams, 1, 1 << 20}, {"window of a stream", o.StreamWindow, 1, socket.LargeBuffer},
		{"window of a connection", o.ConnWindow, http2.InitialWindow, http2.MaxWindow}, {"resets a second", o.Resets, 1, 1 << 20},
		{"control frames a second", o.Controls, 1, 1 << 20},
	} {
		if l.value != 0 && (l.value < l.low || l.value > l.large) {
			errs = append(errs, fmt.Errorf("%s: %d is not within %d and %d", l.name, l.value, l.low, l.large))
		}
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Limits == (wire.Limits{}) {
		o.Limits = wire.DefaultLimits()
	}
	setDefault(&o.HeadTimeout, 10*time.Second)
	setDefault(&o.BodyIdle, 30*time.Second)
	setDefault(&o.KeepAlive, 75*time.Second)
	setDefault(&o.WriteIdle, 30*time.Second)
	setDefault(&o.StreamIdle, time.Hour)
	setDefault(&o.MinRate, 100)
	setDefault(&o.MaxStreams, 128)
	setDefault(&o.StreamWindow, socket.LargeBuffer)
	setDefault(&o.ConnWindow, 1<<20)
	setDefault(&o.Resets, 50)
	setDefault(&o.Controls, 100)
}

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// Status is the state of an engine at one moment.
type Status struct {
	Conns, Streams int
	// Ended counts the connections and streams that exceeded a limit.
	Ended map[string]uint64
}

// Engine speaks HTTP/2 for a front.Server.
type Engine struct {
	proxy   *proxy.Proxy
	options Options
	streams sync.Pool
	conns   atomic.Int64
	open    atomic.Int64
	ended   [causes]atomic.Uint64
}

var _ front.Engine = (*Engine)(nil)

// NewEngine makes an Engine that passes its requests to p.
func NewEngine(p *proxy.Proxy, o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("http2 options: %w", err)
	}
	o.setDefaults()
	e := &Engine{proxy: p, options: o}
	e.streams.New = func() any { return newStream(e) }
	return e, nil
}

// Open takes over a connection.
func (e *Engine) Open(c *front.Conn) front.Session { return newConn(e, c) }

// Plaintext returns nothing: a client that speaks HTTP/2 does not read text.
func (e *Engine) Plaintext([5]byte) []byte { return nil }

// Status returns the state of the engine.
func (e *Engine) Status() Status {
	s := Status{Conns: int(e.conns.Load()), Streams: int(e.open.Load()), Ended: make(map[string]uint64)}
	for c := range causes {
		s.Ended[c.String()] = e.ended[c].Load()
	}
	return s
}
