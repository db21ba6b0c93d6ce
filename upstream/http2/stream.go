package http2

import (
	"io"
	"os"
	"sync"
	"time"

	"serai/internal/memory"
	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// stream carries one request and its answer. All of it is guarded by the lock of its
// connection, except what only the request's own goroutine uses.
type stream struct {
	conn *conn

	// Used only by the request's goroutine.
	head   bool           // the method is HEAD
	memory *memory.Client // the client that large buffers for the answer count for
	idled  time.Duration
	alarm  *alarm
	readBy time.Time
	upload *upload
	made   bool // its connection was made for it
	failed bool // it carries no request any more, but may still be interrupted

	id    uint32        // 0 until it begins
	start uint64        // position of its first byte in the output of the connection
	news  chan struct{} // something has come or failed

	sendWindow   int64
	sentEnd      bool
	stopped      bool // it sends no more
	gotEnd, over bool // over: it is no longer in conn.streams
	err          error
	interrupted  bool

	// Input.
	heads     []received
	fields    []wire.Field // fields of all heads and the trailers
	values    wire.Values
	trailers  received
	headBytes int
	interims  int
	final     bool  // the final head has come
	bodiless  bool  // the answer has no body, whatever it says
	length    int64 // length of the body, -1 if unknown
	came      int64
	body      buffer
	window    int // bytes that the instance may send
	credit    int // bytes to be given back to it
	enlarged  bool
	since     time.Time // start of the time in which recent bytes came
	recent    int
	brought   time.Time // when part of the body last came
	reserved  int64     // bytes of memory for large buffers
}

var (
	_ upstream.Stream   = (*stream)(nil)
	_ upstream.Tunneler = (*stream)(nil)
)

var streams = sync.Pool{New: func() any {
	s := &stream{news: make(chan struct{}, 1)}
	s.alarm = newAlarm(s.news)
	return s
}}

func (c *conn) newStream() *stream {
	s := streams.Get().(*stream)
	s.conn, s.length, s.window = c, -1, smallWindow
	return s
}

// recycle returns s to the pool. No other goroutine may use it any more.
func (s *stream) recycle() {
	select {
	case <-s.news:
	default:
	}
	s.values.Reset()
	*s = stream{news: s.news, alarm: s.alarm, heads: s.heads[:0], fields: s.fields[:0], values: s.values}
	streams.Put(s)
}

// wake wakes the request's goroutine. c.mu is held, as for the next methods.
func (s *stream) wake() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

func (s *stream) wakeUpload() {
	if u := s.upload; u != nil {
		u.wake()
	}
}

// fail ends the stream with an error. What has come can still be read.
func (s *stream) fail(err error) {
	if s.err == nil && !s.over {
		s.err = err
	}
	s.stopSending()
	s.close()
	s.wake()
}

// stopSending makes the upload send no more.
func (s *stream) stopSending() {
	s.stopped = true
	s.wakeUpload()
}

// close removes the stream from the connection.
func (s *stream) close() {
	if !s.over && s.id != 0 {
		s.over = true
		delete(s.conn.streams, s.id)
		s.conn.recent = nil
	}
}

func (s *stream) closeIfOver() {
	if s.gotEnd && s.sentEnd {
		s.close()
	}
}

// wait waits for a signal until readBy. It releases the lock meanwhile.
func (s *stream) wait() error {
	c := s.conn
	if s.interrupted {
		return os.ErrDeadlineExceeded
	}
	if !s.readBy.IsZero() && !s.alarm.begin(s.readBy) {
		return os.ErrDeadlineExceeded
	}
	c.mu.Unlock()
	<-s.news // possibly the alarm, or an old signal
	s.alarm.end()
	c.mu.Lock()
	if s.interrupted {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Next returns the next bytes of the answer's body. It reopens the window by as many
// bytes as were read.
func (s *stream) Next() ([]byte, error) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		data, free := s.body.take()
		if free > 0 {
			s.consume(free)
			c.flush()
		}
		switch {
		case s.interrupted:
			return nil, os.ErrDeadlineExceeded
		case len(data) > 0:
			return data, nil
		case s.body.held > 0: // they came while the lock was released
			continue
		case s.bodiless, s.gotEnd:
			return nil, io.EOF
		case s.err != nil:
			return nil, s.err
		}
		if err := s.wait(); err != nil {
			return nil, err
		}
	}
}

// Ready reports whether Next would return bytes without waiting.
func (s *stream) Ready() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.body.held > 0
}

// Done reports whether the body has ended and was read.
func (s *stream) Done() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.bodiless || s.gotEnd && s.body.held == 0
}

// Trailers returns the fields after the body.
func (s *stream) Trailers() []wire.Field {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.fields[s.trailers.from:s.trailers.to]
}

// ReadWithin bounds the next wait.
func (s *stream) ReadWithin(now time.Time, d time.Duration) {
	s.readBy = time.Time{}
	if d > 0 {
		s.readBy = now.Add(d)
	}
}

// Interrupt makes waiting calls fail.
func (s *stream) Interrupt() {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	s.interrupted = true
	s.stopSending()
	s.wake()
}

// CheckPath ends the connection if the instance does not acknowledge what it is sent.
func (s *stream) CheckPath() { s.conn.checkPath() }

// End ends the stream. If it is still open for the instance, End resets it.
func (s *stream) End(whole bool) time.Time {
	s.stopUpload(whole)
	c := s.conn
	now := time.Now()
	c.mu.Lock()
	if s.id != 0 && !s.over {
		switch {
		case c.state == dead:
		case s.gotEnd && s.sentEnd:
		case s.bodiless && s.sentEnd && whole:
			c.reset(s, http2.NoError)
		default:
			c.reset(s, http2.Cancel)
		}
		s.close()
	}
	if n := s.reserved; n > 0 {
		s.memory.Give(memory.Buffers, n)
	}
	s.body.drop()
	s.alarm.rest(now)
	c.giveBack(now)
	c.flush()
	c.mu.Unlock()
	if !s.failed {
		s.recycle()
	}
	return now
}
