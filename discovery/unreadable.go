package discovery

import (
	"context"
	"errors"
	"sync"
	"time"

	"serai/nomad"
)

// unreadable are the services that a scan has listed and could not read: Nomad answers
// nonsense, or an error, or never, for them alone. They keep no other service from being
// read; what is known of them stays, with a Refused that says so, and they are read again
// soon.
type unreadable struct {
	mu     sync.Mutex
	causes map[Key]error
	read   int   // how many could be read
	failed int   // how many could not, without those whose names nobody can ask for
	row    int   // how many of these since the last one that could
	last   error // why the last of these could not
}

// mostUnreadable is how many services may fail where no more than that could be read, and
// in a row where Nomad does not answer: beyond it, it is not the services that are unwell.
const mostUnreadable = 8

// note notes what came of reading a service. It returns the error where the scan should
// not go on.
func (u *unreadable) note(ctx context.Context, key Key, err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.read++
		u.row = 0
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused):
		return err
	}
	if u.causes == nil {
		u.causes = make(map[Key]error)
	}
	u.causes[key] = err
	if errors.Is(err, nomad.ErrUnaskable) {
		return nil // of which a job may register as many as it likes
	}
	u.failed++
	u.row++
	u.last = err
	silent := errors.Is(err, nomad.ErrUnreachable) || errors.Is(err, nomad.ErrUnavailable)
	if u.failed > mostUnreadable && (u.failed > u.read || silent && u.row > mostUnreadable) {
		return err
	}
	return nil
}

// all returns why services could not be read, or an error where one must and none could.
func (u *unreadable) all(must bool) (map[Key]error, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if must && u.read == 0 && u.failed > 0 {
		return nil, u.last
	}
	return u.causes, nil
}

// unreadAgain is when services that could not be read are read again, after so many scans
// in a row in which there were any.
func (s *session) unreadAgain() time.Duration {
	return around(min(s.options.Resync, time.Second<<min(s.unwell, 10)))
}
