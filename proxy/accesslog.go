package proxy

import (
	"bufio"
	"context"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// AccessLog writes one JSON line for each exchange, from a goroutine of its
// own. A writer that is too slow, or fails, costs lines, never a request.
type AccessLog struct {
	w       io.Writer
	sample  float64
	lines   chan *[]byte
	pool    sync.Pool
	dropped atomic.Uint64
}

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

// Run writes lines until ctx ends, and then those in wait. A writer that takes
// too long for them, a pipe that nobody reads, is left behind.
func (l *AccessLog) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.write(ctx)
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(accessEnd):
	}
	return ctx.Err()
}

func (l *AccessLog) write(ctx context.Context) {
	w := bufio.NewWriterSize(l.w, 64<<10)
	write := func(line *[]byte) {
		if _, err := w.Write(*line); err != nil {
			l.dropped.Add(1)
			w.Reset(l.w) // a full disk may have room again
		}
		*line = (*line)[:0]
		l.pool.Put(line)
	}
	flush := func() {
		if err := w.Flush(); err != nil {
			l.dropped.Add(1)
			w.Reset(l.w)
		}
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

// Log queues a line for x, if it is to have one.
func (l *AccessLog) Log(x *Exchange) {
	if l.sample < 1 && x.Reason == "" && x.Status > 0 && x.Status < 500 && rand.Float64() >= l.sample {
		return
	}
	line := l.pool.Get().(*[]byte)
	*line = x.appendLog(*line)
	select {
	case l.lines <- line:
	default:
		l.dropped.Add(1)
		*line = (*line)[:0]
		l.pool.Put(line)
	}
}

// appendLog appends x as one line of JSON, with the field names of log/slog.
// Durations are in seconds.
func (x *Exchange) appendLog(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = x.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"request","request_id":`...)
	b = appendJSON(b, x.id())
	b = append(b, `,"client":"`...)
	b = x.Client.AppendTo(b)
	b = append(b, `","peer":"`...)
	b = x.Peer.AppendTo(b)
	b = append(b, `","host":`...)
	b = appendJSON(b, x.Head.Host)
	b = append(b, `,"method":`...)
	b = appendJSON(b, x.Head.Method)
	b = append(b, `,"path":`...)
	b = appendJSON(b, x.Head.Target)
	b = append(b, `,"tls":`...)
	b = strconv.AppendBool(b, x.Secure)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.Status), 10)
	b = append(b, `,"reason":"`...)
	b = append(b, x.Reason...)
	b = append(b, `","bytes_in":`...)
	b = strconv.AppendInt(b, x.BytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, x.BytesOut, 10)
	b = append(b, `,"retries":`...)
	b = strconv.AppendInt(b, int64(x.Retries), 10)
	for _, d := range [...]struct {
		name  string
		value time.Duration
	}{{"queued", x.Queued}, {"connect", x.Connected}, {"first_byte", x.FirstByte}, {"duration", x.Now.Sub(x.Start)}} {
		b = append(b, `,"`...)
		b = append(b, d.name...)
		b = append(b, `":`...)
		b = strconv.AppendFloat(b, d.value.Seconds(), 'f', 6, 64)
	}
	if r := x.Route; r != nil {
		b = append(b, `,"namespace":`...)
		b = appendJSON(b, r.Namespace)
		b = append(b, `,"service":`...)
		b = appendJSON(b, r.Service)
		b = append(b, `,"route":`...)
		b = appendJSON(b, r.Name)
	}
	if m := x.Member; m != nil {
		b = append(b, `,"alloc":`...)
		b = appendJSON(b, m.Alloc)
		b = append(b, `,"instance":`...)
		b = appendJSON(b, m.Endpoint.Target().Address)
	}
	return append(b, "}\n"...)
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
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}
