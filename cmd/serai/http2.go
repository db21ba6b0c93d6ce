package main

import (
	"errors"
	"fmt"

	"serai/proxy/http2"
	"serai/upstream"
	upstreamhttp1 "serai/upstream/http1"
	upstreamhttp2 "serai/upstream/http2"
	"serai/wire"
)

// http2Flags are the limits of HTTP/2 that HTTP/1 has no need of.
type http2Flags struct {
	Streams    int `name:"http2-streams" default:"128" help:"Concurrent requests on one HTTP/2 client connection; REFUSED_STREAM beyond." group:"Limits"`
	Window     int `name:"http2-window" default:"65536" help:"HTTP/2 window of one request: bytes of its body that serai takes before an instance has; at most 65536. With less, larger bodies are streamed and not read completely first." group:"Limits"`
	ConnWindow int `name:"http2-connection-window" default:"1048576" help:"HTTP/2 window of one connection: bytes of the bodies of all its requests that serai takes before instances have; at least 65535." group:"Limits"`
	Resets     int `name:"http2-resets" default:"50" help:"Requests a second that a client may reset before they are a second old, or send malformed, over one HTTP/2 connection, on average over ten seconds; the connection ends beyond." group:"Limits"`
	Controls   int `name:"http2-control-frames" default:"100" help:"Frames a second that carry nothing (PING, SETTINGS, empty DATA and the like) over one HTTP/2 connection, on average over ten seconds; the connection ends beyond." group:"Limits"`
}

// validate reports all that is wrong with the flags.
func (f *http2Flags) validate() error {
	var errs []error
	for _, l := range []struct {
		name              string
		value, low, large int
	}{
		{"http2-streams", f.Streams, 1, 1 << 20}, {"http2-window", f.Window, 1, 65536}, {"http2-connection-window", f.ConnWindow, 65535, 1<<31 - 1},
		{"http2-resets", f.Resets, 1, 1 << 20}, {"http2-control-frames", f.Controls, 1, 1 << 20},
	} {
		if l.value < l.low || l.value > l.large {
			errs = append(errs, fmt.Errorf("--%s=%d is not within %d and %d", l.name, l.value, l.low, l.large))
		}
	}
	return errors.Join(errs...)
}

// newHTTP2 makes the engine for clients that speak HTTP/2.
func (s *system) newHTTP2(limits wire.Limits) (*http2.Engine, error) {
	return http2.NewEngine(s.proxy, http2.Options{
		Limits: limits, HeadTimeout: s.HeadTimeout.value(), BodyIdle: s.BodyIdle.value(), MinRate: orNever(s.MinRate),
		KeepAlive: s.KeepAlive.value(), WriteIdle: s.WriteIdle.value(), StreamIdle: s.TunnelIdle.value(),
		MaxStreams: s.Over2.Streams, StreamWindow: s.Over2.Window, ConnWindow: s.Over2.ConnWindow, Resets: s.Over2.Resets, Controls: s.Over2.Controls,
	})
}

// transports returns what makes the transport that an endpoint's scheme asks for.
// It is told of panics of their goroutines.
func transports(maxStreams int, panicked func(cause any, address string)) func(*upstream.Endpoint, upstream.Keeping) upstream.Transport {
	multiplexed := upstreamhttp2.New(upstreamhttp2.Options{Streams: maxStreams, Panicked: panicked})
	return func(e *upstream.Endpoint, k upstream.Keeping) upstream.Transport {
		if e.Target().Scheme.HTTP2() {
			return multiplexed(e, k)
		}
		return upstreamhttp1.New(e, k)
	}
}
