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

// Lock is a lease on a variable's path. Nomad frees it once it was not
// renewed for twice the TTL, and lets another take it after Delay more.
//
// Locks are advice, not a fence: a holder that was suspended may believe that
// it still holds one. Check again where it matters, with PutVariableIf.
// Source: https://developer.hashicorp.com/nomad/api-docs/variables/locks.
type Lock struct {
	// Namespace and Path name the variable. Nothing else may be kept in it,
	// because acquiring overwrites its items.
	Namespace, Path string
	// ID is the holder's own, from NewLockID. Choosing it ourselves makes an
	// acquire whose answer got lost repeatable.
	ID string
	// TTL is 10 s to 24 h; 0 means 15 s.
	TTL time.Duration
	// Delay is how long after the loss of the lock nobody may have it; 0
	// means 15 s.
	Delay time.Duration
}

// lockBody is a lock on the wire.
type lockBody struct {
	ID        string
	TTL       string `json:",omitempty"`
	LockDelay string `json:",omitempty"`
}

// NewLockID returns a random ID that Nomad takes.
func NewLockID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// AcquireLock takes the lock, or says with ErrConflict that another holds it.
// items, which others can read, say who we are; they may be nil.
//
// Acquiring again with the same ID succeeds while the lock is ours but does
// not lengthen it: only RenewLock does. Once its time has run out Nomad will
// free it even if it was acquired again meanwhile with the same ID, so a
// holder that was late takes a new ID.
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
		return insane(r, "the answer holds another lock")
	}
	return nil
}

// RenewLock lengthens the lock. ErrConflict means that it is not ours or that
// its time has run out; right after an election of the servers' leader it may
// be said in error, so try AcquireLock with the same ID once, and take a
// second refusal as the loss.
func (c *Client) RenewLock(ctx context.Context, l Lock) error {
	r, err := lockRequest("renew", l)
	if err != nil {
		return err
	}
	r.body = variableBody{Namespace: orDefault(l.Namespace), Path: l.Path, Lock: &lockBody{ID: l.ID}}
	return lockError(c.do(ctx, r, nil))
}

// ReleaseLock frees the lock at once and keeps the items. ErrConflict means
// that it was not ours any more, and needs no action.
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

// lockError says ErrConflict for all ways in which an agent says that a lock
// is not ours: 409, but also 404 and 500 for one that is gone.
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
