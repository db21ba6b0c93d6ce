package http2

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
	"serai/wire/socket"
)

// upload is what of a request's body did not leave with its head. A goroutine sends
// it, once, while the answer is awaited.
type upload struct {
	body    upstream.RequestBody
	done    chan struct{}
	news    chan struct{} // there may be a window, or no use in going on
	stopped atomic.Bool
	whole   atomic.Bool   // all of it has come; the rest is being sent
	last    socket.Moment // of the last progress

	mu       sync.Mutex
	finished bool
	err      error // the body's, or errNoMore
}

func (u *upload) tell() {
	select {
	case u.news <- struct{}{}:
	default:
	}
}

// stream sends first, and then the rest of the body, from a goroutine of its own.
func (s *stream) stream(r *upstream.Request, first []byte) {
	u := &upload{body: r.Body, done: make(chan struct{}), news: make(chan struct{}, 1)}
	u.last.Set(time.Now())
	s.conn.mu.Lock()
	s.upload = u
	s.conn.mu.Unlock()
	go func() {
		defer close(u.done)
		err := s.copyContained(r, u, first)
		u.mu.Lock()
		u.finished, u.err = true, err
		u.mu.Unlock()
		u.last.Set(time.Now())
		if err != nil && err != errNoMore && !u.stopped.Load() {
			s.conn.mu.Lock()
			s.fail(errBody)
			s.conn.reset(s, http2.Cancel)
			s.conn.flush()
			s.conn.mu.Unlock()
		}
	}()
}

// copyContained is copyBody. A panic in it, which may be that of whoever brings the
// body, is the caller's to report.
func (s *stream) copyContained(r *upstream.Request, u *upload, first []byte) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = r.Caller.Panicked(cause)
		}
	}()
	return s.copyBody(r, u, first)
}

func (s *stream) copyBody(r *upstream.Request, u *upload, data []byte) error {
	over := r.Complete
	for {
		u.whole.Store(over)
		var trailers []wire.Field
		if over && r.Head.Framing == wire.Chunked {
			trailers = r.Body.Trailers()
		}
		if err := s.sendAll(u, data, over, trailers, r.Bounds.WriteIdle); err != nil || over {
			return err
		}
		var err error
		data, err = r.Body.Next()
		if err != nil && err != io.EOF {
			return err
		}
		over = err == io.EOF || r.Body.Done()
		u.last.Set(time.Now())
	}
}

// sendAll sends data as the windows allow. Each wait for more of them is bounded.
func (s *stream) sendAll(u *upload, data []byte, end bool, trailers []wire.Field, idle time.Duration) error {
	c := s.conn
	if len(data) == 0 && !end {
		return nil
	}
	late := time.NewTimer(idle)
	defer late.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads++
	defer func() { c.uploads-- }()
	for {
		if s.stopped || s.over {
			return errNoMore
		}
		had := len(data)
		data = s.appendData(data, end, trailers)
		c.flush()
		if len(data) == 0 {
			return nil
		}
		if len(data) < had {
			u.last.Set(time.Now())
			if idle > 0 {
				late.Reset(idle)
			}
		}
		c.mu.Unlock()
		var err error
		if idle > 0 {
			select {
			case <-u.news:
			case <-late.C:
				err = errNoMore
			}
		} else {
			<-u.news
		}
		c.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// lastWrite is how long the last bytes of a body may take once it is answered.
const lastWrite = 100 * time.Millisecond

// stopUpload ends the upload, if one is under way. Whole says that all of the answer
// has come.
func (s *stream) stopUpload(whole bool) {
	u := s.upload
	if u == nil || u.body == nil { // none, or a tunnel's
		return
	}
	u.mu.Lock()
	finished := u.finished
	u.mu.Unlock()
	if !finished && whole && u.whole.Load() {
		late := time.NewTimer(lastWrite)
		defer late.Stop()
		select {
		case <-u.done:
			finished = true
		case <-late.C:
		}
	}
	if !finished {
		u.stopped.Store(true)
		s.conn.mu.Lock()
		s.stopSending()
		s.conn.mu.Unlock()
		u.body.Interrupt()
	}
	<-u.done
	s.conn.mu.Lock()
	s.upload = nil
	s.conn.mu.Unlock()
}

// lastUploaded returns when the upload made progress last.
func (s *stream) lastUploaded() time.Time {
	u := s.upload
	if u == nil {
		return time.Time{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.err != nil && u.err != errNoMore:
		return time.Time{} // there is nothing to wait for any more
	case !u.finished:
		return time.Now()
	}
	return u.last.Time()
}

// bodyError returns what failed about the request's body, nil when nothing did.
func (s *stream) bodyError() error {
	u := s.upload
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == errNoMore {
		return nil
	}
	return u.err
}
