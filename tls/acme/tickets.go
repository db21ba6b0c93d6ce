package acme

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"serai/internal/sleep"
	"serai/tls"
	"serai/tls/certstore"
)

// tickets are the keys of session tickets, newest first.
type tickets struct {
	keys  []tls.TicketKey
	since time.Time
}

func (t *tickets) items(sealer *certstore.Sealer) map[string]string {
	var keys []string
	for _, k := range t.keys {
		keys = append(keys, base64.StdEncoding.EncodeToString(k[:]))
	}
	return map[string]string{
		"keys":  sealer.Seal(ticketPath, "keys", strings.Join(keys, " ")),
		"since": t.since.UTC().Format(time.RFC3339Nano),
	}
}

func readTickets(r *certstore.Record, sealer *certstore.Sealer) (*tickets, error) {
	text, err := sealer.Open(r.Path, "keys", r.Items["keys"])
	if err != nil {
		return nil, err
	}
	t := &tickets{}
	for _, word := range strings.Fields(text) {
		k, err := base64.StdEncoding.DecodeString(word)
		if err != nil || len(k) != len(tls.TicketKey{}) {
			return nil, fmt.Errorf("read %s: a key of session tickets is damaged", r.Path)
		}
		t.keys = append(t.keys, tls.TicketKey(k))
	}
	t.since, err = time.Parse(time.RFC3339Nano, r.Items["since"])
	if err != nil || len(t.keys) == 0 {
		return nil, fmt.Errorf("read %s: it has no keys of session tickets", r.Path)
	}
	return t, nil
}

// wait is how long the newest key is still the one that encrypts, of a life of most; 0 when
// another one is due. A key that is more than a life younger than now was made by a clock that
// was ahead: it is not to stay until that time has come.
func (t *tickets) wait(most time.Duration) time.Duration {
	age := time.Since(t.since)
	if age < -most {
		return 0
	}
	return max(min(most-age, most), 0)
}

// ticketKeys is how many keys are kept: a session can be resumed for at least that many
// ticket lives, less one.
const ticketKeys = 3

// turnTickets makes a new key for session tickets when it is time, unless another serai
// has. The first one to write wins, so no leader is needed.
func (i *Issuer) turnTickets(ctx context.Context) {
	for ctx.Err() == nil {
		wait, err := i.turnTicketsOnce(ctx)
		if err != nil && ctx.Err() == nil {
			i.options.Logger.Warn("TLS session ticket keys cannot be rotated: the old ones stay in use", "error", err)
			wait = 10 * time.Minute
		}
		// Not all at once: after the first write the others need none.
		sleep.For(ctx, wait+mathrand.N(wait/20+1))
	}
}

// turnTicketsOnce makes a new key if it is time, and returns when to call it again.
func (i *Issuer) turnTicketsOnce(ctx context.Context) (time.Duration, error) {
	most := i.options.TicketLife
	if e := i.mirror.at(ticketPath); e != nil && e.tickets != nil {
		if wait := e.tickets.wait(most); wait > 0 {
			return wait, nil
		}
	}
	fresh := &tickets{keys: make([]tls.TicketKey, 1), since: time.Now()}
	rand.Read(fresh.keys[0][:])
	version := uint64(0)
	r, err := i.options.Store.Get(ctx, ticketPath)
	switch {
	case errors.Is(err, certstore.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		version = r.Version
		old, err := readTickets(r, i.options.Sealer)
		if errors.Is(err, certstore.ErrSealed) {
			return 0, fmt.Errorf("%w; all serai need the same --cert-key-file", err)
		}
		if err == nil {
			if wait := old.wait(most); wait > 0 {
				return wait, nil
			}
			fresh.keys = append(fresh.keys, old.keys[:min(len(old.keys), ticketKeys-1)]...)
		}
	}
	_, err = i.options.Store.Put(ctx, ticketPath, fresh.items(i.options.Sealer), version)
	if errors.Is(err, certstore.ErrConflict) {
		return time.Second, nil // another serai was first
	}
	return most, err
}
