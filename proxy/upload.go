package proxy

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// upload is a request's body on its way. What has come with the head is sent
// with the head and can be sent again; the rest is streamed by a goroutine,
// once, while the answer is awaited.
type upload struct {
	begun    bool
	first    []byte // what came with the head
	complete bool   // there is no more
	*streaming
}

// streaming is the part that a goroutine shares with the exchange.
type streaming struct {
	done    chan struct{}
	stopped atomic.Bool
	whole   atomic.Bool   // all of it has come; the rest is being written
	last    socket.Moment // of the last progress
	bytes   int64

	mu       sync.Mutex
	finished bool
	err      error // the client's fault, or errUpstream
}

// errUpstream says that the instance takes no more of the body: its answer, if
// any, tells why.
var errUpstream = errors.New("the instance takes no more of the body")

// gather waits for a small body before a place at an instance is taken for it: who
// sends a byte a second is not to hold one. It answers, and reports false, when
// the body does not come.
func (p *Proxy) gather(x *Exchange) bool {
	if x.upload.begun || x.Head.Framing != wire.Length {
		return true
	}
	began := x.Now
	err := x.Body.Gather()
	x.Now = time.Now()
	x.Gathered = x.Now.Sub(began)
	if err == nil {
		return true
	}
	p.answerFailure(x, explainUpload(err))
	return false
}

// startUpload takes what has come of the body. It does so once, however often
// the request is sent.
func (x *Exchange) startUpload() {
	u := &x.upload
	if u.begun {
		return
	}
	u.begun = true
	if x.Body.Ready() {
		u.first, _ = x.Body.Next()
		x.BytesIn = int64(len(u.first))
	}
	u.complete = x.Body.Done()
}

// copied is the most of a body that is copied behind its head; more is written
// from where it is.
const copied = 2 << 10

// appendFirst appends what has come of the body, framed as the head says, or
// returns it as body when it is long and needs no frame.
func (x *Exchange) appendFirst(dst []byte) (out, body []byte) {
	u := &x.upload
	if x.Head.Framing != wire.Chunked {
		if len(u.first) > copied {
			return dst, u.first
		}
		return append(dst, u.first...), nil
	}
	dst = wire.AppendChunk(dst, u.first)
	if u.complete {
		dst = wire.AppendLastChunk(dst, x.trailers())
	}
	return dst, nil
}

// trailers returns the request's trailers without those that belong into the head
// (RFC 9110 section 6.5.1).
func (x *Exchange) trailers() []wire.Field { return filterTrailers(x.Body.Trailers()) }

func filterTrailers(fields []wire.Field) []wire.Field {
	for i := range fields {
		if !fields[i].Kind.InTrailers() {
			fields[i].Kind = wire.Dropped
		}
	}
	return fields
}

// stream sends the rest of the body from a goroutine of its own.
func (p *Proxy) stream(x *Exchange, conn *upstream.Conn) {
	s := &streaming{bytes: x.BytesIn, done: make(chan struct{})}
	s.last.Set(time.Now())
	x.upload.streaming = s
	pipe := p.pipe(x, conn, x.Head.Framing, x.Head.Size)
	go func() {
		defer close(s.done)
		defer pipe.Close()
		err := p.containUpload(x, func() error { return p.copyBody(x, s, conn, pipe) })
		s.mu.Lock()
		s.finished, s.err = true, err
		s.mu.Unlock()
		s.last.Set(time.Now())
		if err != nil && err != errUpstream && !s.stopped.Load() {
			conn.Interrupt()
		}
	}()
}

func (p *Proxy) copyBody(x *Exchange, s *streaming, conn *upstream.Conn, pipe *socket.Pipe) error {
	chunked := x.Head.Framing == wire.Chunked
	limit := x.Route.Options.MaxBody
	var out []byte
	if chunked {
		out = socket.GetLarge()[:0]
		defer func() { socket.Put(out) }()
	}
	for {
		var data []byte
		n, err := x.Body.Pull(pipe)
		if n == 0 && err == nil {
			data, err = x.Body.Next()
			n = len(data)
		}
		if err != nil && err != io.EOF {
			return err
		}
		s.bytes += int64(n)
		s.whole.Store(x.Body.Done())
		if limit > 0 && s.bytes > limit {
			return wire.ErrBodyTooLong
		}
		now := time.Now()
		s.last.Set(now)
		conn.WriteWithin(now, p.options.WriteIdle)
		if n > len(data) {
			if pipe.Drain(&conn.Conn) != nil {
				return errUpstream
			}
			continue
		}
		send := data
		if chunked {
			// A chunk's data is at most a buffer: what does not fit beside its
			// frame goes in two chunks.
			out = out[:0]
			for len(data) > socket.SmallBuffer*7 {
				out = wire.AppendChunk(out, data[:socket.SmallBuffer*7])
				if _, err := conn.Write(out); err != nil {
					return errUpstream
				}
				out, data = out[:0], data[socket.SmallBuffer*7:]
			}
			out = wire.AppendChunk(out, data)
			if err == io.EOF {
				out = wire.AppendLastChunk(out, x.trailers())
			}
			send = out
		}
		if _, werr := conn.Write(send); werr != nil {
			return errUpstream
		}
		if err == io.EOF {
			return nil
		}
	}
}

// lastWrite is how long the last bytes of a body may take once it is answered.
const lastWrite = 100 * time.Millisecond

// stopUpload ends the upload, if one is under way, and notes how far it came.
// The connection is of no use afterwards unless the upload is complete.
func (x *Exchange) stopUpload(conn *upstream.Conn) {
	s := x.upload.streaming
	if s == nil {
		return
	}
	s.mu.Lock()
	finished := s.finished
	s.mu.Unlock()
	switch {
	case finished:
	case s.whole.Load():
		// An instance may answer while the last write is returning to us. One
		// that does not take the last bytes loses the connection, the client
		// does not.
		select {
		case <-s.done:
		case <-time.After(lastWrite):
			conn.Interrupt()
		}
	default:
		s.stopped.Store(true)
		conn.Close()
		x.Body.Interrupt()
	}
	<-s.done
	x.BytesIn = s.bytes
	x.upload.complete = s.err == nil
	if s.err == errPanicked {
		x.Reason = ReasonPanic.Code()
	}
}

// finishUpload waits for the whole request to be sent: the other protocol begins
// behind it (RFC 9110 section 7.8). Each wait within the upload is bounded.
func (x *Exchange) finishUpload() error {
	s := x.upload.streaming
	if s == nil {
		return nil
	}
	<-s.done
	if s.err == errUpstream {
		return io.EOF
	}
	if s.err == nil {
		x.BytesIn = s.bytes
		x.upload.streaming = nil
	}
	return s.err
}

// Uploading reports whether another goroutine may be reading the request's body.
func (x *Exchange) Uploading() bool { return x.upload.streaming != nil }

// lastUploaded returns when the upload made progress last.
func (x *Exchange) lastUploaded() time.Time {
	if s := x.upload.streaming; s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.finished {
			return time.Now()
		}
		return s.last.Time()
	}
	return time.Time{}
}

// uploadError returns what failed about the client's side of the upload.
func (x *Exchange) uploadError() error {
	s := x.upload.streaming
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == errUpstream {
		return nil
	}
	return s.err
}

// explainUpload tells what a client's fault in the body means for its answer.
func explainUpload(err error) *failure {
	var refused *wire.Error
	switch {
	case errors.As(err, &refused) && refused != wire.ErrBodyCut:
		return &failure{status: refused.Status, reason: refused.Code, err: errors.New(refused.Detail)}
	case err == errPanicked:
		return ReasonPanic.failure(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonBodyTimeout.failure(nil)
	}
	return ReasonClientGone.failure(errClientGone)
}
