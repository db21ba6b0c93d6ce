// Package tracing answers: who is told how long each step of a request took?
//
// It makes spans of the proxy's traces with OpenTelemetry's SDK, and sends them to a
// collector as OTLP over HTTP. A collector that is slow or away costs spans, which are
// counted, and never a request.
package tracing

import (
	"context"
	"fmt"
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
	client  *otlptrace.Exporter
	spans   *spanMaker
	queue   chan *proxy.Trace
	bytes   quota.Quota // of the queue and of the batch that is being sent

	exported, full, failed atomic.Uint64
	failing                bool      // the last batch was not taken
	complained             time.Time // the last line about that
	exemplars              exemplars
}

// NewExporter makes an Exporter, which connects to nothing before Run.
func NewExporter(o Options) (*Exporter, error) {
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	about, err := o.resource()
	if err != nil {
		return nil, err
	}
	return &Exporter{options: o, client: client, spans: newSpanMaker(about, o.Version), queue: make(chan *proxy.Trace, queueTraces)}, nil
}

// Record takes a trace, if there is room for it. It never waits.
func (e *Exporter) Record(t *proxy.Trace) {
	n := t.Bytes()
	if e.bytes.Take(n, e.options.Memory) {
		select {
		case e.queue <- t:
			return
		default:
			e.bytes.Give(n)
		}
	}
	e.full.Add(uint64(t.Spans()))
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
		e.export(lasting, e.gather(ctx))
	}
	for lasting.Err() == nil && len(e.queue) > 0 {
		e.export(lasting, e.gather(ctx))
	}
	if n := len(e.queue); n > 0 {
		e.options.Logger.Warn("the collector has not taken the last traces", "traces", n)
	}
	e.client.Shutdown(lasting)
	return ctx.Err()
}

// gather returns traces that wait: it waits for the first, and then a moment for more, and
// for nothing any more when ctx has ended.
func (e *Exporter) gather(ctx context.Context) (batch []*proxy.Trace) {
	var enough <-chan time.Time
	for spans := 0; len(batch) < batchTraces && spans < batchSpans; {
		select {
		case t := <-e.queue:
			batch, spans = append(batch, t), spans+t.Spans()
			continue
		default:
		}
		if ctx.Err() != nil {
			return batch
		}
		if len(batch) > 0 && enough == nil {
			timer := time.NewTimer(batchTime)
			defer timer.Stop()
			enough = timer.C
		}
		select {
		case t := <-e.queue:
			batch, spans = append(batch, t), spans+t.Spans()
		case <-enough:
			return batch
		case <-ctx.Done():
		}
	}
	return batch
}

// export sends a batch, within exportTime. Traces that the collector does not take are lost.
func (e *Exporter) export(ctx context.Context, batch []*proxy.Trace) {
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, exportTime)
	defer cancel()
	var n int64
	for _, t := range batch {
		n += t.Bytes()
	}
	defer e.bytes.Give(n)
	spans := e.spans.make(batch)
	if err := e.client.ExportSpans(ctx, spans); err != nil {
		e.failed.Add(uint64(len(spans)))
		e.complain(len(spans), err)
		return
	}
	e.exported.Add(uint64(len(spans)))
	if e.failing {
		e.failing, e.complained = false, time.Time{}
		e.options.Logger.Info("the collector takes traces again")
	}
	for _, t := range batch {
		e.exemplars.note(t)
	}
}

// maxComplaint bounds what a line of the log has of the collector's own words, in bytes.
const maxComplaint = 500

func (e *Exporter) complain(spans int, err error) {
	now := time.Now()
	if e.failing = true; now.Sub(e.complained) < complainEvery {
		return
	}
	e.complained = now
	e.options.Logger.Warn("the collector does not take traces: they are lost until it does; no request waits for it",
		"spans", spans, "error", fmt.Sprintf("%.*s", maxComplaint, err.Error()))
}
