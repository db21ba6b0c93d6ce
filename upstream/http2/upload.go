package http2

import (
	"io"
	"time"

	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// upload sends DATA as windows allow.
type upload struct {
	*upstream.Upload               // nil for a tunnel, which has no body
	news             chan struct{} // signals that a window may be open, or that the upload must end
	pulls            bool          // it pulls more of the body than the first part
}

func newUpload(of *upstream.Upload) *upload { return &upload{Upload: of, news: make(chan struct{}, 1)} }

func (u *upload) wake() {
	select {
	case u.news <- struct{}{}:
	default:
	}
}

// stream sends first, and then the rest of the body, in a goroutine of its own.
func (s *stream) stream(r *upstream.Request, first []byte) {
	u := newUpload(upstream.NewUpload(r.Body))
	u.pulls = !r.Complete
	s.conn.mu.Lock()
	s.upload = u
	s.conn.mu.Unlock()
	go u.Run(r.Caller, func() error { return s.copyBody(r, u, first) }, s.failBody)
}

// failBody ends the stream because the body of its request has failed.
func (s *stream) failBody() {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	s.fail(errBody)
	c.reset(s, http2.Cancel)
	c.flush()
}

func (s *stream) copyBody(r *upstream.Request, u *upload, data []byte) error {
	over := r.Complete
	for {
		u.SetWhole(over)
		var trailers []wire.Field
		if over {
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
		u.Progress(time.Now())
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
			return upstream.ErrNoMore
		}
		had := len(data)
		data = s.appendData(data, end, trailers)
		c.flush()
		if len(data) == 0 {
			return nil
		}
		if len(data) < had {
			if u.Upload != nil {
				u.Progress(time.Now())
			}
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
				err = upstream.ErrNoMore
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

// stopUpload ends the upload, if it is running. Whole says that the whole answer has
// come.
func (s *stream) stopUpload(whole bool) {
	u := s.upload
	if u == nil || u.Upload == nil { // none, or one of a tunnel
		return
	}
	finished := u.Finished()
	if !finished && whole && u.Whole() {
		late := time.NewTimer(upstream.LastWrite)
		defer late.Stop()
		select {
		case <-u.Ended:
			finished = true
		case <-late.C:
		}
	}
	if !finished {
		u.Stop()
		s.conn.mu.Lock()
		s.stopSending()
		s.conn.mu.Unlock()
		if u.pulls { // a complete body can be sent again
			u.Body.Interrupt()
		}
	}
	<-u.Ended
	s.conn.mu.Lock()
	s.upload = nil
	s.conn.mu.Unlock()
}

// sent returns the upload of the request's body, nil if there is none.
func (s *stream) sent() *upstream.Upload {
	if s.upload == nil {
		return nil
	}
	return s.upload.Upload
}
