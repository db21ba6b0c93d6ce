// Package http1 answers: how does HTTP/1 reach the proxy?
//
// It is a thin engine of package front: it parses heads into Exchanges, writes answers, and
// enforces time limits. Everything that does not depend on HTTP/1 is in package proxy.
package http1

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"serai/front"
	"serai/proxy"
	"serai/wire"
	"serai/wire/socket"
)

// Options are the options of an Engine. Zero values mean the defaults given here.
type Options struct {
	// Limits bound request heads; zero means wire.DefaultLimits.
	Limits wire.Limits
	// HeadTimeout bounds the time for a head from its first byte, 10s. BodyIdle bounds
	// each wait for more of a body, 30s. KeepAlive bounds the wait for a request, 75s.
	// WriteIdle bounds each wait for the client to accept more, 30s.
	HeadTimeout, BodyIdle, KeepAlive, WriteIdle time.Duration
	// MinRate is how many bytes of a body a client must send per second, 100, on average
	// over BodyIdle; negative for no minimum.
	MinRate int
}

// Validate reports everything that is wrong with the options at once.
func (o *Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"head timeout", o.HeadTimeout}, {"body idle timeout", o.BodyIdle}, {"keep-alive timeout", o.KeepAlive},
		{"write idle timeout", o.WriteIdle},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s %v is negative", d.name, d.value))
		}
	}
	if o.Limits.Head < 0 || o.Limits.Head > socket.LargeBuffer {
		errs = append(errs, fmt.Errorf("head limit %d is not within 1 and %d bytes", o.Limits.Head, socket.LargeBuffer))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.Limits == (wire.Limits{}) {
		o.Limits = wire.DefaultLimits()
	}
	for _, d := range []struct {
		value     *time.Duration
		otherwise time.Duration
	}{
		{&o.HeadTimeout, 10 * time.Second}, {&o.BodyIdle, 30 * time.Second}, {&o.KeepAlive, 75 * time.Second},
		{&o.WriteIdle, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.otherwise
		}
	}
	if o.MinRate == 0 {
		o.MinRate = 100
	}
}

// Engine speaks HTTP/1 for a front.Server.
type Engine struct {
	proxy     *proxy.Proxy
	options   Options
	exchanges sync.Pool
}

var _ front.Engine = (*Engine)(nil)

// NewEngine makes an Engine that passes its requests to p.
func NewEngine(p *proxy.Proxy, o Options) (*Engine, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("http1 options: %w", err)
	}
	o.setDefaults()
	e := &Engine{proxy: p, options: o}
	e.exchanges.New = func() any { return newSession() }
	return e, nil
}

// Open takes over a connection.
func (e *Engine) Open(c *front.Conn) front.Session {
	s, again := c.LastSession().(*conn)
	if !again || s.engine != e {
		s = new(conn)
	}
	*s = conn{engine: e, front: c, wire: &c.Socket}
	return s
}

// Plaintext answers the start of a request line, sent to a port that speaks TLS.
func (e *Engine) Plaintext(first [5]byte) []byte {
	switch string(first[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET":
		e := proxy.ReasonPlainHTTP.Refusal()
		body := fmt.Sprintf("%d %s (%s)\n", e.Status, e.Detail, e.Code)
		return fmt.Appendf(nil, "HTTP/1.1 %d Bad Request\r\nX-Serai-Reason: %s\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"+
			"Connection: close\r\nContent-Length: %d\r\n\r\n%s", e.Status, e.Code, len(body), body)
	}
	return nil
}
