package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// collector takes traces, as OTLP over HTTP has them, and counts them.
type collector struct {
	address         string
	server          *http.Server
	messages, spans atomic.Int64
}

func startCollector() (*collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &collector{address: l.Addr().String()}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	go c.server.Serve(l)
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = c.count(body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.messages.Add(1)
}

// The fields on the way to a span (opentelemetry-proto, trace_service.proto and trace.proto).
const (
	fieldResourceSpans = 1 // of the message
	fieldScopeSpans    = 2 // of ResourceSpans
	fieldSpan          = 2 // of ScopeSpans
)

// count counts the spans of a message without reading them: a collector that works on the
// core of the load would make the load less, and what it measures more expensive.
func (c *collector) count(message []byte) error {
	return eachField(message, fieldResourceSpans, func(resource []byte) error {
		return eachField(resource, fieldScopeSpans, func(scope []byte) error {
			return eachField(scope, fieldSpan, func([]byte) error {
				c.spans.Add(1)
				return nil
			})
		})
	})
}

// eachField calls f with each message of a field.
func eachField(message []byte, field protowire.Number, f func([]byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		size := protowire.ConsumeFieldValue(number, kind, message)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if number == field && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			if err := f(value); err != nil {
				return err
			}
		}
		message = message[size:]
	}
	return nil
}

// collectTraces starts a collector for serai, if its traces are to be measured. End says what
// came, and is an error if traces were to come and none did.
func (c *compareCommand) collectTraces(s *setting) (end func() error, err error) {
	if c.Traces == nil {
		return func() error { return nil }, nil
	}
	to, err := startCollector()
	if err != nil {
		return nil, err
	}
	s.Collector, s.Traces = to.address, *c.Traces
	return func() error {
		to.server.Close()
		fmt.Printf("\nthe collector got %d spans in %d messages\n", to.spans.Load(), to.messages.Load())
		if *c.Traces > 0 && to.spans.Load() == 0 {
			return errors.New("no trace has reached the collector")
		}
		return nil
	}, nil
}
