package proxy

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"
)

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
			flush() // a file that was rotated must not begin with the rest of a line
		}
		w.Write(*line) // no line is longer than the buffer
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

// losses reports lines that could not be written: the first ones at once, all others
// once a minute, however often the writer fails and recovers.
type losses struct {
	lines    uint64
	loggedAt time.Time
}

// lossLogInterval is the time between two such messages.
const lossLogInterval = time.Minute

func (o *losses) add(logger *slog.Logger, lines uint64, err error) {
	o.lines += lines
	if logger == nil || !o.loggedAt.IsZero() && time.Since(o.loggedAt) < lossLogInterval {
		return
	}
	logger.Error("the access log cannot be written: its lines are lost", "lines", o.lines, "error", err)
	o.lines, o.loggedAt = 0, time.Now()
}

// wholeLines begins a new line after a line of which only a part could be written.
type wholeLines struct {
	w      io.Writer
	within bool   // the last write ended within a line
	lines  uint64 // lines that were written completely
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
