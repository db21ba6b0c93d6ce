package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
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
	var m collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &m)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.messages.Add(1)
	for _, resource := range m.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans.Add(int64(len(scope.Spans)))
		}
	}
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
