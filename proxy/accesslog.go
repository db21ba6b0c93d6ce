package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// AccessLog writes one JSON line for each exchange, from a goroutine of its
// own. A writer that is too slow, or fails, costs lines, never a request.
type AccessLog struct {
	// Query is what becomes of the queries of targets, QueryOn when empty.
	Query Query
	// Checks has requests for the ready path logged, too, which load balancers
	// send all day long.
	Checks bool
	// Refused bounds the lines a second about requests that the policies of one route
	// refuse; 0 for no limit. Whoever is refused can ask as often as it likes.
	Refused int
	// Logger is told, once a minute at most, of lines that cannot be written, and of
	// those that found no room in wait. It may be nil.
	Logger *slog.Logger

	w       io.Writer
	sample  float64
	lines   chan *[]byte
	pool    sync.Pool
	dropped atomic.Uint64 // of which noRoom were never in wait
	noRoom  atomic.Uint64
	skipped atomic.Uint64 // because of Refused
}

// Query says what the access log holds of a target's query.
type Query string

// QueryOn logs it as it came, QueryOff not at all, QueryRedact the names alone.
const (
	QueryOn     Query = "on"
	QueryOff    Query = "off"
	QueryRedact Query = "redact"
)

// Bounds of the access log: lines in wait, bytes of a line's longest value, and
// how long the writer may take for the lines that are left at the end.
const (
	accessQueue = 4096
	accessValue = 2048
	accessEnd   = time.Second
)

// NewAccessLog makes an access log on w. Lines are written while Run runs.
// Sample is the share, 0 to 1, of the requests that get a line; those that
// failed, or that serai answered itself, always do.
func NewAccessLog(w io.Writer, sample float64) *AccessLog {
	l := &AccessLog{w: w, sample: sample, lines: make(chan *[]byte, accessQueue)}
	l.pool.New = func() any { b := make([]byte, 0, 1024); return &b }
	return l
}

// Dropped returns how many lines were lost.
func (l *AccessLog) Dropped() uint64 { return l.dropped.Load() }

// Skipped returns how many requests have no line because of Refused.
func (l *AccessLog) Skipped() uint64 { return l.skipped.Load() }

// Run writes lines until ctx ends, and then those in wait. A writer that takes
// too long for them, a pipe that nobody reads, is left behind.
func (l *AccessLog) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx)
	}()
	tick := time.NewTicker(tellLosses)
	defer tick.Stop()
	for told := uint64(0); ; {
		select {
		case <-tick.C:
			// A writer that never comes back cannot tell of it.
			if n := l.noRoom.Load(); n > told && l.Logger != nil {
				l.Logger.Error("the access log takes lines too slowly: some are lost", "lines", n-told)
				told = n
			}
			continue
		case <-ctx.Done():
		}
		select {
		case <-done:
		case <-time.After(accessEnd):
		}
		return ctx.Err()
	}
}

func (l *AccessLog) write(ctx context.Context) {
	whole := &wholeLines{w: l.w}
	w := bufio.NewWriterSize(whole, 64<<10)
	held := uint64(0) // lines in w
	var lost losses
	flush := func() {
		whole.lines = 0
		if err := w.Flush(); err != nil {
			n := held - min(held, whole.lines)
			l.dropped.Add(n)
			lost.add(l.Logger, n, err)
			w.Reset(whole) // a full disk may have room again
		}
		held = 0
	}
	write := func(line *[]byte) {
		if w.Available() < len(*line) {
			flush() // a file that is opened anew must not get the rest of a line
		}
		w.Write(*line) // it fits: no line is longer than the buffer
		held++
		*line = (*line)[:0]
		l.pool.Put(line)
	}
	defer flush()
	for {
		select {
		case line := <-l.lines:
			write(line)
			if len(l.lines) == 0 {
				flush()
			}
		case <-ctx.Done():
			for len(l.lines) > 0 {
				write(<-l.lines)
			}
			return
		}
	}
}

// losses tells of lines that could not be written: of the first ones at once, of
// all others once a minute, however often the writer fails and recovers.
type losses struct {
	lines uint64
	told  time.Time
}

// tellLosses is how often they are told.
const tellLosses = time.Minute

func (o *losses) add(logger *slog.Logger, lines uint64, err error) {
	o.lines += lines
	if logger == nil || !o.told.IsZero() && time.Since(o.told) < tellLosses {
		return
	}
	logger.Error("the access log cannot be written: its lines are lost", "lines", o.lines, "error", err)
	o.lines, o.told = 0, time.Now()
}

// wholeLines begins a new line after one that could be written only in part.
type wholeLines struct {
	w      io.Writer
	within bool   // the last byte that was written was not the end of a line
	lines  uint64 // that were written to their end
}

func (w *wholeLines) Write(p []byte) (int, error) {
	if w.within {
		if _, err := w.w.Write([]byte{'\n'}); err != nil {
			return 0, err
		}
		w.within = false
	}
	n, err := w.w.Write(p)
	if n > 0 {
		w.within = p[n-1] != '\n'
		w.lines += uint64(bytes.Count(p[:n], []byte{'\n'}))
	}
	return n, err
}

// Log queues a line for x, if it is to have one.
func (l *AccessLog) Log(x *Exchange) {
	if x.Check && !l.Checks || x.Route != nil && x.Route.Policies.Unlogged() {
		return
	}
	if l.sample < 1 && x.Reason == "" && x.Status > 0 && x.Status < 500 && rand.Float64() >= l.sample {
		return
	}
	var left uint64
	if l.Refused > 0 && x.refusedByPolicy() {
		ok := false
		if left, ok = x.Route.Stats.Refused.Take(x.Now, l.Refused); !ok {
			l.skipped.Add(1)
			return
		}
	}
	line := l.pool.Get().(*[]byte)
	*line = x.appendLog(*line, l.Query, left)
	select {
	case l.lines <- line:
	default:
		l.dropped.Add(1)
		l.noRoom.Add(1)
		*line = (*line)[:0]
		l.pool.Put(line)
	}
}

// refusedByPolicy reports whether a policy of the route has answered the request with an
// error.
func (x *Exchange) refusedByPolicy() bool {
	return x.Route != nil && !x.admitted && x.Status >= 400 && x.Reason != ""
}

// appendLog appends x as one line of JSON, with the field names of log/slog.
// Durations are in seconds. What is not known, or is nothing, has no field. Left is how
// many requests before it, refused as this one, have no line.
func (x *Exchange) appendLog(b []byte, q Query, left uint64) []byte {
	b = append(b, `{"time":"`...)
	b = x.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"request"`...)
	b = appendField(b, "request_id", x.id())
	if x.Client.IsValid() {
		b = append(b, `,"client":"`...)
		b = append(x.Client.AppendTo(b), '"')
	}
	if x.Peer.IsValid() {
		b = append(b, `,"peer":"`...)
		b = append(x.Peer.AppendTo(b), '"')
	}
	b = appendField(b, "host", x.Head.Host)
	b = appendField(b, "method", x.Head.Method)
	b = appendPath(b, x.Head.Target, q)
	b = appendField(b, "protocol", x.protocol())
	b = appendField(b, "user_agent", x.Header("user-agent"))
	b = append(b, `,"tls":`...)
	b = strconv.AppendBool(b, x.Secure)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.Status), 10)
	if status, ok := x.GRPCStatus(); ok {
		b = append(b, `,"grpc_status":`...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	b = appendField(b, "reason", x.Reason)
	if left > 0 {
		b = append(b, `,"not_logged":`...)
		b = strconv.AppendUint(b, left, 10)
	}
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, x.BytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, x.BytesOut, 10)
	b = appendSeconds(b, "duration", x.Now.Sub(x.Start))
	if r := x.Route; r != nil {
		b = appendField(b, "namespace", r.Namespace)
		b = appendField(b, "service", r.Service)
		b = appendField(b, "route", r.Name)
		b = append(b, `,"retries":`...)
		b = strconv.AppendInt(b, int64(x.Retries), 10)
		b = appendSeconds(b, "queued", x.Queued)
	}
	if m := x.Member; m != nil {
		b = appendField(b, "alloc", m.Alloc)
		b = appendField(b, "instance", m.Endpoint.Target().Address)
		b = appendSeconds(b, "connect", x.Connected)
		b = appendSeconds(b, "first_byte", x.FirstByte)
	}
	return append(b, "}\n"...)
}

// protocol returns what the client speaks, nothing where that is not known.
func (x *Exchange) protocol() string {
	switch h := &x.Head; {
	case h.Major == 2:
		return "HTTP/2.0"
	case len(h.Method) == 0:
		return ""
	case h.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

func appendSeconds(b []byte, name string, d time.Duration) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendFloat(b, d.Seconds(), 'f', 6, 64)
}

// appendField appends a string that is not empty.
func appendField[T string | []byte](b []byte, name string, value T) []byte {
	if len(value) == 0 {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendJSON(b, value)
}

// appendPath appends a request's target with as much of its query as the log may
// hold: it may carry secrets, such as a token in a link.
func appendPath(b, target []byte, q Query) []byte {
	path, query, found := bytes.Cut(target, []byte{'?'})
	if !found || q != QueryOff && q != QueryRedact {
		return appendField(b, "path", target)
	}
	if b = appendField(b, "path", path); len(path) == 0 {
		return b
	}
	if q == QueryOff || len(path) > accessValue || len(query) == 0 {
		return b
	}
	b = append(b[:len(b)-1], '?') // in place of the quote
	start := len(b)
	for len(query) > 0 && len(b)-start < accessValue {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		if name, _, valued := bytes.Cut(pair, []byte{'='}); valued {
			// The name as JSON, without its quotes.
			at := len(b)
			b = appendJSON(b, name)
			b = append(b[:at], b[at+1:len(b)-1]...)
			b = append(b, "=-"...)
		} else {
			b = append(b, '-') // which is a value, for all that is known
		}
		if len(query) > 0 {
			b = append(b, '&')
		}
	}
	return append(b, '"')
}

// appendJSON appends s as a JSON string, shortened where it is too long. Bytes
// that are not UTF-8 are replaced.
func appendJSON[T string | []byte](b []byte, s T) []byte {
	if len(s) > accessValue {
		s = s[:accessValue]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if unicode.IsPrint(r) {
				b = utf8.AppendRune(b, r)
			} else {
				b = appendEscaped(b, r)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// appendEscaped appends what no terminal and no reader of lines may take for a
// command or a line's end: U+009B begins an escape sequence, U+0085 and U+2028 end
// lines, U+202E turns the text around.
func appendEscaped(b []byte, r rune) []byte {
	for _, unit := range utf16.AppendRune(nil, r) {
		b = append(b, '\\', 'u')
		for shift := 12; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[unit>>shift&15])
		}
	}
	return b
}
