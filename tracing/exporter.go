// Package tracing answers: who is told how long each step of a request took?
//
// It makes spans of the proxy's traces, and sends them to a collector as OTLP over HTTP, with
// OpenTelemetry's own client. A collector that is slow or away costs spans, which are
// counted, and never a request.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"

	"serai/internal/quota"
	"serai/proxy"
)

// Bounds of what waits for the collector, and of one message to it.
const (
	queueTraces = 8192
	batchTraces = 128
	batchSpans  = 512
	batchTime   = time.Second
	exportTime  = 15 * time.Second
	// lastExport is how long the end of Run waits for the collector.
	lastExport    = 2 * time.Second
	complainEvery = time.Minute
)

// Status is what an Exporter has done. Spans are those that the collector took; each of the
// others is counted where it was lost.
type Status struct {
	Exported, QueueFull, Failed uint64
	// Waiting is how many bytes wait for the collector, Limit how many may.
	Waiting, Limit int64
	// ErrorsLeft is how many requests that failed were not traced because of a limit of them.
	ErrorsLeft uint64
}

// Exporter sends traces. All methods may be called concurrently.
type Exporter struct {
	options Options
	client  otlptrace.Client
	to      *collector
	spans   *spanMaker
	queue   *queue
	batch   []*proxy.Trace // memory for the next one
	bytes   quota.Quota    // of the queue and of the batch that is being sent

	exported, full, failed atomic.Uint64
	failing                bool      // the last batch was not taken
	complained             time.Time // the last line about that
	warned, panicked       time.Time // the last ones about spans that were rejected, and a panic
	exemplars              exemplars
}

// NewExporter makes an Exporter, which connects to nothing before Run.
func NewExporter(o Options) (*Exporter, error) {
	client, to, err := o.client()
	if err != nil {
		return nil, err
	}
	about, err := o.resource()
	if err != nil {
		return nil, err
	}
	spans := newSpanMaker(about, o.Version)
	protocol, _ := value(o.Getenv, "PROTOCOL")
	spans.typed = protocol == "http/json"
	return &Exporter{options: o, client: client, to: to, spans: spans, queue: newQueue()}, nil
}

// Record takes a trace, if there is room for it. It never waits.
func (e *Exporter) Record(t *proxy.Trace) {
	n, spans := t.Bytes(), t.Spans()
	if e.bytes.Take(n, e.options.Memory) {
		if e.queue.put(t) {
			return
		}
		e.bytes.Give(n)
	}
	e.queue.rush()
	e.full.Add(uint64(spans))
	t.Release()
}

// Status returns what was exported and lost.
func (e *Exporter) Status() Status {
	return Status{
		Exported: e.exported.Load(), QueueFull: e.full.Load(), Failed: e.failed.Load(),
		Waiting: e.bytes.Taken(), Limit: e.options.Memory,
	}
}

// Exemplars returns one trace, which the collector has taken, for each route and bucket of
// the durations.
func (e *Exporter) Exemplars() []Exemplar { return e.exemplars.all(time.Now()) }

// Run sends traces until ctx ends, and then those that are left, for a moment.
func (e *Exporter) Run(ctx context.Context) error {
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(lastExport, end)
	})()
	for ctx.Err() == nil {
		e.queue.await(ctx)
		for n := e.queue.len(); n > 0 && lasting.Err() == nil; {
			n -= e.exportNext(lasting)
		}
	}
	for lasting.Err() == nil && e.queue.len() > 0 {
		e.exportNext(lasting)
	}
	if n := e.queue.len(); n > 0 {
		e.options.Logger.Warn("the collector has not taken the last traces", "traces", n)
	}
	e.client.Stop(lasting)
	e.to.bounded.CloseIdleConnections()
	return ctx.Err()
}

// exportNext sends the next batch, if something waits, and returns how many traces it had.
func (e *Exporter) exportNext(ctx context.Context) int {
	e.batch = e.queue.take(e.batch[:0])
	e.export(ctx, e.batch)
	for _, t := range e.batch {
		t.Release()
	}
	n := len(e.batch)
	clear(e.batch)
	return n
}

// export sends a batch, within exportTime. Spans that the collector does not take are lost.
func (e *Exporter) export(ctx context.Context, batch []*proxy.Trace) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	var bytes int64
	spans := 0
	for _, t := range batch {
		bytes, spans = bytes+t.Bytes(), spans+t.Spans()
	}
	defer e.bytes.Give(bytes)
	if err := e.send(ctx, batch); err != nil {
		e.failed.Add(uint64(spans))
		e.complain(spans, err)
		return
	}
	rejected, message := e.to.rejected(spans)
	e.failed.Add(uint64(rejected))
	e.exported.Add(uint64(spans - rejected))
	if e.failing && rejected < spans {
		e.failing, e.complained = false, time.Time{}
		e.options.Logger.Info("the collector takes traces again")
	}
	if (rejected > 0 || message != "") && due(&e.warned) {
		e.options.Logger.Warn("the collector reports a problem with traces", "spans", spans, "rejected", rejected, "message", shorten(message))
	}
	if rejected > 0 {
		return // nobody knows which
	}
	for _, t := range batch {
		e.exemplars.note(t)
	}
}

// send makes spans of a batch and sends them. A panic costs the batch alone: nothing else
// depends on what is used here, and requests must not end for what is told of them.
func (e *Exporter) send(ctx context.Context, batch []*proxy.Trace) (err error) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		err = errPanicked
		if e.options.Panicked != nil {
			e.options.Panicked()
		}
		if due(&e.panicked) {
			e.options.Logger.Error("traces made serai panic; they are lost, and everything else goes on: please report this",
				"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	e.to.partial = nil
	spans, err := e.spans.make(batch)
	if err != nil {
		return err
	}
	return e.client.UploadTraces(ctx, spans)
}

var errPanicked = errors.New("serai panicked")

// due reports whether a line may be logged, of which the last one was at that time.
func due(last *time.Time) bool {
	now := time.Now()
	if now.Sub(*last) < complainEvery {
		return false
	}
	*last = now
	return true
}

// maxComplaint bounds what a line of the log has of the collector's own words, in bytes.
const maxComplaint = 500

func shorten(text string) string { return valid(text[:min(len(text), maxComplaint)]) }

func (e *Exporter) complain(spans int, err error) {
	if err == errPanicked {
		return // it has its own line
	}
	if e.failing = true; !due(&e.complained) {
		return
	}
	e.options.Logger.Warn("the collector does not take traces: they are lost until it does; no request waits for it",
		"spans", spans, "error", shorten(err.Error()))
}
