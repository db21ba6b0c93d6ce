package nomad

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Lock is a lease on a variable's path. Nomad releases it when it was not renewed for
// twice the TTL, and lets another holder take it after Delay more.
//
// Locks are advice, not a fence: a holder that was suspended may believe that it still
// has one. Check again where it matters, with PutVariableIf.
// Source: https://developer.hashicorp.com/nomad/api-docs/variables/locks.
type Lock struct {
	// Namespace and Path name the variable. It cannot store anything else, because
	// acquiring overwrites its items.
	Namespace, Path string
	// ID is chosen by the holder, with NewLockID. So an acquire whose answer was lost
	// can be repeated.
	ID string
	// TTL is 10 s to 24 h; 0 means 15 s.
	TTL time.Duration
	// Delay is how long after the loss of the lock nobody can acquire it; 0 means 15 s.
	Delay time.Duration
}

// lockBody is a lock in the API.
type lockBody struct {
	ID        string
	TTL       string `json:",omitempty"`
	LockDelay string `json:",omitempty"`
}

// NewLockID returns a random ID that Nomad accepts.
func NewLockID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// AcquireLock acquires the lock, or fails with ErrConflict if another holder has it.
// items identify the holder to readers; they may be nil.
//
// Acquiring again with the same ID succeeds while the lock is held but does not extend
// it: only RenewLock does. Once its time has run out Nomad releases it even if it was
// acquired again meanwhile with the same ID, so a holder that was late must use a new
// ID.
func (c *Client) AcquireLock(ctx context.Context, l Lock, items map[string]string) error {
	r, err := lockRequest("acquire", l)
	if err != nil {
		return err
	}
	body := variableBody{Namespace: orDefault(l.Namespace), Path: l.Path, Items: items, Lock: &lockBody{ID: l.ID}}
	if l.TTL != 0 {
		body.Lock.TTL = l.TTL.String()
	}
	if l.Delay != 0 {
		body.Lock.LockDelay = l.Delay.String()
	}
	r.body = body
	v, err := c.writeVariable(ctx, r)
	if err != nil {
		return lockError(err)
	}
	if v.LockID != "" && v.LockID != l.ID {
		return insane(r, "the answer has another lock")
	}
	return nil
}

// RenewLock extends the lock. ErrConflict means that it is lost or that its time has
// run out; right after an election of the servers' leader this may be wrong, so try
// AcquireLock with the same ID once, and treat a second refusal as the loss.
func (c *Client) RenewLock(ctx context.Context, l Lock) error {
	r, err := lockRequest("renew", l)
	if err != nil {
		return err
	}
	r.body = variableBody{Namespace: orDefault(l.Namespace), Path: l.Path, Lock: &lockBody{ID: l.ID}}
	return lockError(c.do(ctx, r, nil))
}

// ReleaseLock releases the lock at once and keeps the items. ErrConflict means that it
// was already lost, and needs no action.
func (c *Client) ReleaseLock(ctx context.Context, l Lock) error {
	r, err := lockRequest("release", l)
	if err != nil {
		return err
	}
	r.body = variableBody{Namespace: orDefault(l.Namespace), Path: l.Path, Lock: &lockBody{ID: l.ID}}
	return lockError(c.do(ctx, r, nil))
}

func lockRequest(act string, l Lock) (*request, error) {
	r, err := variableRequest(act+" lock on", http.MethodPut, l.Namespace, l.Path)
	if err != nil {
		return r, err
	}
	if l.ID == "" {
		return r, &Error{Op: r.op, Err: errors.New("the lock has no ID"), Advice: "choose one with NewLockID"}
	}
	r.kind = KindLock
	r.params.Set("lock-"+act, "")
	return r, nil
}

// lockError returns ErrConflict for all answers by which an agent says that a lock is
// lost: 409, but also 404 and 500 when it is gone.
func lockError(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.Status == http.StatusConflict {
		return err
	}
	if strings.Contains(e.Body, "variable doesn't exist") || strings.Contains(e.Body, "variable doesn't hold a lock") {
		e.Kind, e.Advice = ErrConflict, ""
	}
	return e
}
