package acme_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"serai/tls/acme"
	"serai/tls/acme/acmetest"
)

// TestNothingCanBeStored: on a full disk, or without the right to write, each order fails
// before its validation, and so does the record of the failure. The orders must become rarer
// all the same, and the reason must be shown; and when there is room, all is well.
func TestNothingCanBeStored(t *testing.T) {
	const host = "a.example.org"
	store := newMemory()
	ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
	set := func(full error) {
		store.mu.Lock()
		defer store.mu.Unlock()
		store.full = full
	}
	set(errors.New("no space left on device"))
	o := orderWith(t, ca, store, func(o *acme.Options) { o.FirstRetry = 20 * time.Millisecond }, acme.Host{Name: host, Namespace: "default"})
	until(t, "five failures", func() bool { return o.told(host).Attempts >= 5 })
	told := o.told(host)
	if told.Next == nil || !strings.Contains(told.Error, "no space left on device") {
		t.Errorf("after five failures the host is told as %+v", told)
	}
	set(nil)
	until(t, "a certificate", func() bool { return o.has(host) })
	until(t, "an end of the failure", func() bool { return o.told(host).Attempts == 0 && o.told(host).Error == "" })
}
