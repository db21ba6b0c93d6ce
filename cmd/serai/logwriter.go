package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// logWriter writes serai's own log. Standard error may be a pipe that nobody reads: a
// logger of Nomad's or Docker's that hangs, a disk that is full. Whoever logs waits a
// moment for its line to be written, as long as lines are written at all; then lines wait
// here, and those that find no room are lost and counted. So no change of the routes, and
// no request, ever waits for the log.
type logWriter struct {
	w io.Writer
	// tell writes, with w, that so many lines were lost.
	tell func(lines uint64)

	lines chan *logLine
	stuck atomic.Bool // the line that is being written takes too long
	lost  atomic.Uint64

	ending, ended chan struct{}
	end           sync.Once
}

// logLine is a line; done is closed when it has been written.
type logLine struct {
	text []byte
	done chan struct{}
}

const (
	// logQueue bounds the lines that wait.
	logQueue = 1024
	// logWait is how long a line is waited for, until others need not wait.
	logWait = 100 * time.Millisecond
	// logEnd is how long the lines that are left may take in the end.
	logEnd = time.Second
)

// newLogWriter makes a logWriter on w, which ends with close.
func newLogWriter(w io.Writer, tell func(lines uint64)) *logWriter {
	l := &logWriter{w: w, tell: tell, lines: make(chan *logLine, logQueue), ending: make(chan struct{}), ended: make(chan struct{})}
	go l.run()
	return l
}

// Write writes a line, or has it written soon. It never fails.
func (l *logWriter) Write(p []byte) (int, error) {
	line := &logLine{bytes.Clone(p), make(chan struct{})}
	select {
	case l.lines <- line:
	default:
		l.lost.Add(1)
		return len(p), nil
	}
	if l.stuck.Load() {
		return len(p), nil
	}
	enough := time.NewTimer(logWait)
	defer enough.Stop()
	select {
	case <-line.done:
	case <-l.ended:
	case <-enough.C:
		l.stuck.Store(true)
	}
	return len(p), nil
}

// Lost is how many lines were lost.
func (l *logWriter) Lost() uint64 { return l.lost.Load() }

func (l *logWriter) run() {
	defer close(l.ended)
	told := uint64(0)
	write := func(line *logLine) {
		l.w.Write(line.text) // an error would have to be logged
		close(line.done)
		if len(l.lines) > 0 {
			return
		}
		l.stuck.Store(false)
		if lost := l.lost.Load(); lost > told {
			l.tell(lost - told)
			told = lost
		}
	}
	for {
		select {
		case line := <-l.lines:
			write(line)
		case <-l.ending:
			for {
				select {
				case line := <-l.lines:
					write(line)
				default:
					return
				}
			}
		}
	}
}

// close writes the lines that are left. A write that hangs is left behind.
func (l *logWriter) close() {
	l.end.Do(func() { close(l.ending) })
	select {
	case <-l.ended:
	case <-time.After(logEnd):
	}
}
