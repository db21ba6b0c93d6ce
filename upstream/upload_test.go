package upstream

import (
	"errors"
	"testing"
	"time"
)

// TestUpload: each end of an upload says what it means for the answer and the
// connection.
func TestUpload(t *testing.T) {
	bad := errors.New("the client left")
	for name, c := range map[string]struct {
		send    func() error
		stop    bool
		err     error
		body    error
		failed  bool
		waitFor bool // the answer may still be waited for
	}{
		"whole":   {send: func() error { return nil }, waitFor: true},
		"no more": {send: func() error { return ErrNoMore }, err: ErrNoMore, waitFor: true},
		"failed":  {send: func() error { return bad }, err: bad, body: bad, failed: true},
		"stopped": {send: func() error { return bad }, stop: true, err: bad, body: bad},
		"panic":   {send: func() error { panic(bad) }, err: errPanicked, body: errPanicked, failed: true},
	} {
		t.Run(name, func(t *testing.T) {
			u, failed := NewUpload(nil), false
			if u.Finished() || u.LastProgress().IsZero() || u.Err() != nil {
				t.Error("it has ended before it began")
			}
			if c.stop {
				u.Stop()
			}
			u.Run(panics{}, c.send, func() { failed = true })
			<-u.Ended
			if !u.Finished() || u.Err() != c.err || u.BodyError() != c.body || failed != c.failed || u.LastProgress().IsZero() == c.waitFor {
				t.Errorf("finished %v, errors %v and %v, failed %v, last progress %v", u.Finished(), u.Err(), u.BodyError(), failed, u.LastProgress())
			}
		})
	}
	var none *Upload
	if none.Err() != nil || none.BodyError() != nil || none.LastProgress() != (time.Time{}) {
		t.Error("what does not exist has failed")
	}
}

var errPanicked = errors.New("a panic")

// panics is a Caller that is told of panics alone.
type panics struct{ Caller }

func (panics) Panicked(any) error { return errPanicked }
