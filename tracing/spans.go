package tracing

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"serai/proxy"
)

// spanMaker makes spans of traces. Only one goroutine may use it.
type spanMaker struct {
	tracer trace.Tracer
	made   []sdk.ReadOnlySpan
	about  attributes // of one span; the tracer copies them
}

func newSpanMaker(about *resource.Resource, version string) *spanMaker {
	m := &spanMaker{}
	// What is to be recorded was decided before.
	p := sdk.NewTracerProvider(sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(givenIDs{}), sdk.WithSpanProcessor(m))
	m.tracer = p.Tracer("serai", trace.WithInstrumentationVersion(version), trace.WithSchemaURL(semconv.SchemaURL))
	return m
}

var _ sdk.SpanProcessor = (*spanMaker)(nil)

// OnStart, OnEnd, Shutdown and ForceFlush implement sdk.SpanProcessor.
func (*spanMaker) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (m *spanMaker) OnEnd(s sdk.ReadOnlySpan)                 { m.made = append(m.made, s) }
func (*spanMaker) Shutdown(context.Context) error             { return nil }
func (*spanMaker) ForceFlush(context.Context) error           { return nil }

// given are the IDs of the span that is made with a context.
type given struct {
	trace trace.TraceID
	span  trace.SpanID
}

type givenKey struct{}

// givenIDs gives spans the IDs of their context, which instances have been told, or random
// ones.
type givenIDs struct{}

var _ sdk.IDGenerator = givenIDs{}

// NewIDs implements sdk.IDGenerator.
func (givenIDs) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	g, _ := ctx.Value(givenKey{}).(given)
	return g.trace, g.span
}

// NewSpanID implements sdk.IDGenerator.
func (givenIDs) NewSpanID(ctx context.Context, _ trace.TraceID) (id trace.SpanID) {
	if g, _ := ctx.Value(givenKey{}).(given); g.span.IsValid() {
		return g.span
	}
	for !id.IsValid() {
		for i := range id {
			id[i] = byte(rand.Uint32())
		}
	}
	return id
}

// make returns the spans of some traces.
func (m *spanMaker) make(batch []*proxy.Trace) []sdk.ReadOnlySpan {
	for _, t := range batch {
		m.request(t)
	}
	made := m.made
	m.made = nil // the budget of traces counts them only until they have been sent
	return made
}

// request makes the spans of one request: its own, and one for each wait and attempt.
func (m *spanMaker) request(t *proxy.Trace) {
	ctx, q := context.Background(), &t.Request
	if t.Parent != (proxy.SpanID{}) {
		state, _ := trace.ParseTraceState(string(t.State)) // one that it does not take is left out
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(t.ID), SpanID: trace.SpanID(t.Parent), TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true,
		}))
	}
	ctx = context.WithValue(ctx, givenKey{}, given{trace.TraceID(t.ID), trace.SpanID(t.Span)})
	method, name, _ := methodOf(q.Method)
	if q.Routed {
		name += " " + q.RoutePath
	}
	ctx, span := m.start(ctx, name, trace.SpanKindServer, t.Begun, m.requestAttributes(t, method))
	for _, w := range t.Waits {
		m.step(ctx, w.What, w.Begun, w.Ended)
	}
	for i := range t.Attempts {
		m.attempt(ctx, t, i)
	}
	if q.Failed {
		span.SetStatus(codes.Error, q.Reason)
	}
	span.End(trace.WithTimestamp(t.Ended))
}

// attempt makes the spans of one attempt.
func (m *spanMaker) attempt(ctx context.Context, t *proxy.Trace, i int) {
	a := &t.Attempts[i]
	method, name, _ := methodOf(t.Request.Method)
	ctx = context.WithValue(ctx, givenKey{}, given{span: trace.SpanID(a.Span)})
	ctx, span := m.start(ctx, name, trace.SpanKindClient, a.Begun, m.attemptAttributes(t, i, method))
	sent := a.Begun
	if a.Connected > 0 {
		sent = sent.Add(a.Connected)
		m.step(ctx, "connect", a.Begun, sent)
	}
	if a.FirstByte > 0 {
		first := sent.Add(a.FirstByte)
		m.step(ctx, "wait for the first byte", sent, first)
		m.step(ctx, "answer", first, a.Ended)
	}
	if a.Reason != "" || a.Status >= 400 {
		span.SetStatus(codes.Error, a.Reason)
	}
	span.End(trace.WithTimestamp(a.Ended))
}

// step makes a span within another.
func (m *spanMaker) step(ctx context.Context, name string, begun, ended time.Time) {
	ctx = context.WithValue(ctx, givenKey{}, given{})
	if ended.Before(begun) {
		ended = begun
	}
	_, span := m.start(ctx, name, trace.SpanKindInternal, begun, nil)
	span.End(trace.WithTimestamp(ended))
}

func (m *spanMaker) start(ctx context.Context, name string, kind trace.SpanKind, begun time.Time, about []attribute.KeyValue) (context.Context, trace.Span) {
	return m.tracer.Start(ctx, valid(name), trace.WithSpanKind(kind), trace.WithTimestamp(begun), trace.WithAttributes(about...))
}

// splitPort returns the host and the port of an address; 0 for none.
func splitPort(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return address, 0
	}
	port, _ = strconv.Atoi(text)
	return host, port
}
