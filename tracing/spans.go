package tracing

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"serai/proxy"
)

// spanMaker makes the spans of a message to the collector. OpenTelemetry's SDK would first make
// spans of its own, with contexts, limits and a map for each message, and then a message of
// them, at many times the cost. Only one goroutine may use a spanMaker.
type spanMaker struct {
	about  *resourcepb.Resource
	schema string // of about
	scope  *commonpb.InstrumentationScope
	typed  bool // the library needs to look into spans, for JSON

	spans fields // of the message
	span  fields // that is being made
}

// maxKept bounds the buffers that are used again for the next message, in bytes.
const maxKept = 256 << 10

func newSpanMaker(about *resource.Resource, version string) *spanMaker {
	m := &spanMaker{schema: about.SchemaURL(), about: &resourcepb.Resource{}, scope: &commonpb.InstrumentationScope{Name: "serai", Version: version}}
	for _, kv := range about.Attributes() {
		value := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(kv.Value.String())}}
		m.about.Attributes = append(m.about.Attributes, &commonpb.KeyValue{Key: string(kv.Key), Value: value})
	}
	return m
}

// make returns the spans of some traces, until it is called again.
func (m *spanMaker) make(batch []*proxy.Trace) ([]*tracepb.ResourceSpans, error) {
	if m.spans = m.spans[:0]; cap(m.spans) > maxKept {
		m.spans = nil
	}
	for _, t := range batch {
		m.request(t)
	}
	scope := &tracepb.ScopeSpans{}
	if m.typed {
		if err := proto.Unmarshal(m.spans, scope); err != nil {
			return nil, err
		}
	} else {
		// The library sends fields that it does not know as they are.
		scope.ProtoReflect().SetUnknown(protoreflect.RawFields(m.spans))
	}
	scope.Scope, scope.SchemaUrl = m.scope, semconv.SchemaURL
	return []*tracepb.ResourceSpans{{Resource: m.about, ScopeSpans: []*tracepb.ScopeSpans{scope}, SchemaUrl: m.schema}}, nil
}

// The flags of spans (SpanFlags): those of the trace, and whether the parent is another
// process's.
const (
	ownParent    = uint32(trace.FlagsSampled) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	remoteParent = ownParent | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
)

// begin begins a span with an ID; its attributes follow, and end. What ends before its
// beginning, by a clock that was set back, takes no time.
func (m *spanMaker) begin(t *proxy.Trace, id, parent proxy.SpanID, flags uint32, name string, kind tracepb.Span_SpanKind, begun, ended time.Time) {
	m.span = m.span[:0]
	m.span.bytes(spanTraceID, t.ID[:])
	m.span.bytes(spanID, id[:])
	m.span.text(spanState, m.state(t))
	if parent != (proxy.SpanID{}) {
		m.span.bytes(spanParent, parent[:])
	}
	m.span.text(spanName, valid(name))
	m.span.varint(spanKind, uint64(kind))
	from := uint64(max(0, begun.UnixNano()))
	m.span.fixed64(spanBegun, from)
	m.span.fixed64(spanEnded, max(from, uint64(max(0, ended.UnixNano()))))
	m.span.fixed32(spanFlags, flags)
}

// end ends the span that was begun.
func (m *spanMaker) end() { m.spans.bytes(scopeSpans, m.span) }

// state is a trace's tracestate; one that OpenTelemetry does not take is left out.
func (*spanMaker) state(t *proxy.Trace) string {
	if len(t.State) == 0 {
		return ""
	}
	state, err := trace.ParseTraceState(string(t.State))
	if err != nil {
		return ""
	}
	return state.String()
}

// request makes the spans of one request: its own, and one for each wait and attempt.
func (m *spanMaker) request(t *proxy.Trace) {
	q, flags := &t.Request, ownParent
	method, name, _ := methodOf(q.Method)
	if q.Routed {
		name += " " + q.RoutePath
	}
	if t.Parent != (proxy.SpanID{}) {
		flags = remoteParent
	}
	m.begin(t, t.Span, t.Parent, flags, name, tracepb.Span_SPAN_KIND_SERVER, t.Begun, t.Ended)
	m.requestAttributes(t, method)
	if q.Failed {
		m.span.failed(q.Reason)
	}
	m.end()
	for _, w := range t.Waits {
		m.step(t, t.Span, w.What, w.Begun, w.Ended)
	}
	for i := range t.Attempts {
		m.attempt(t, i)
	}
}

// attempt makes the spans of one attempt.
func (m *spanMaker) attempt(t *proxy.Trace, i int) {
	a := &t.Attempts[i]
	method, name, _ := methodOf(t.Request.Method)
	m.begin(t, a.Span, t.Span, ownParent, name, tracepb.Span_SPAN_KIND_CLIENT, a.Begun, a.Ended)
	m.attemptAttributes(t, i, method)
	if a.Reason != "" || a.Status >= 400 {
		m.span.failed(a.Reason)
	}
	m.end()
	sent := a.Begun
	if a.Connected > 0 {
		sent = sent.Add(a.Connected)
		m.step(t, a.Span, "connect", a.Begun, sent)
	}
	if a.FirstByte > 0 {
		first := sent.Add(a.FirstByte)
		m.step(t, a.Span, "wait for the first byte", sent, first)
		m.step(t, a.Span, "answer", first, a.Ended)
	}
}

// step makes a span within another.
func (m *spanMaker) step(t *proxy.Trace, parent proxy.SpanID, name string, begun, ended time.Time) {
	var id proxy.SpanID
	for id == (proxy.SpanID{}) {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	}
	m.begin(t, id, parent, ownParent, name, tracepb.Span_SPAN_KIND_INTERNAL, begun, ended)
	m.end()
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
