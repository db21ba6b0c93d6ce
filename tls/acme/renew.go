package acme

import (
	"context"
	"errors"
	"fmt"
	"time"

	"serai/tls/certstore"
)

// look is the time between two looks for an answer.
const look = 500 * time.Millisecond

// Renew asks whichever serai orders certificates to renew that of a host now,
// tells its name to asked, and waits until that is done or has failed; not at
// all when timeout is 0.
func Renew(ctx context.Context, store certstore.Store, host string, timeout time.Duration, asked func(leader string)) error {
	leader, err := store.Leader(ctx)
	if err != nil {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	if leader == "" {
		return errors.New("ask for a renewal: no serai has ever ordered certificates in this store; set --acme-email")
	}
	before, err := failureIn(ctx, store, host)
	if err != nil {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	path := RequestPath(host)
	items := map[string]string{"name": host, "at": time.Now().UTC().Format(time.RFC3339Nano)}
	if _, err := store.Put(ctx, path, items, 0); err != nil && !errors.Is(err, certstore.ErrConflict) {
		return fmt.Errorf("ask for a renewal: %w", err)
	}
	asked(leader)
	for end := time.Now().Add(timeout); timeout > 0; {
		pause(ctx, look)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		_, err := store.Get(ctx, path)
		if errors.Is(err, certstore.ErrNotFound) {
			break
		}
		if time.Now().After(end) {
			return errors.Join(fmt.Errorf("the certificate of %s was not renewed within %v; the request stands, look at /certificates of %s", host, timeout, leader), err)
		}
	}
	if timeout == 0 {
		return nil
	}
	after, err := failureIn(ctx, store, host)
	if err == nil && after != nil && (before == nil || after.Last.After(before.Last)) {
		err = fmt.Errorf("the certificate of %s was not renewed: %s", host, after.Error)
	}
	return err
}

// failureIn reads the last failure of a host, nil for none.
func failureIn(ctx context.Context, store certstore.Store, host string) (*Failure, error) {
	r, err := store.Get(ctx, failurePath(host))
	if errors.Is(err, certstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return readFailure(r)
}
