package acme_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// farAhead is a time of a clock that is years ahead, as of a machine that has lost its battery.
func farAhead() string { return time.Now().AddDate(20, 0, 0).UTC().Format(time.RFC3339Nano) }

// failedAhead stores a failure of a host that a serai with such a clock has written.
func failedAhead(t *testing.T, store *memory, host string) {
	t.Helper()
	at := farAhead()
	items := map[string]string{"name": host, "error": "certificate has expired or is not yet valid", "attempts": "2", "last": at, "next": at, "spent": at}
	if _, err := store.Put(context.Background(), certstore.Path("tls", "failures", host), items, 0); err != nil {
		t.Fatal(err)
	}
}

// TestFailureOfAClockAhead: a leader whose clock was years ahead has failed to order, because no
// certificate of the CA's server was valid then. Hosts do not wait for that time: they are
// ordered at once, and one that fails again waits as after any failure.
func TestFailureOfAClockAhead(t *testing.T) {
	t.Parallel()
	store := newMemory()
	failedAhead(t, store, "good.test")
	failedAhead(t, store, "bad.evil.test")
	o := order(t, store, acme.LetsEncryptLimits, acme.Host{Name: "good.test", Namespace: "a", Service: "a"}, acme.Host{Name: "bad.evil.test", Namespace: "b", Service: "b"})
	until(t, "the certificate", func() bool { return o.has("good.test") })
	until(t, "the failure", func() bool { return o.told("bad.evil.test").Attempts > 2 })
	if next := o.told("bad.evil.test").Next; next == nil || time.Until(*next) > 8*time.Hour {
		t.Errorf("the host that failed again is tried at %v, want within hours", next)
	}
}

// TestFailureOfAClockAheadIsShown without a time that means nothing.
func TestFailureOfAClockAheadIsShown(t *testing.T) {
	t.Parallel()
	store := newMemory()
	failedAhead(t, store, "x.test")
	o := order(t, store, acme.Limits{Certificates: 1}, acme.Host{Name: "x.test", Namespace: "a", Service: "a"})
	until(t, "the certificate", func() bool { return o.has("x.test") })
	if next := o.told("x.test").Next; next == nil || time.Until(*next) > 90*24*time.Hour {
		t.Errorf("the next renewal is told as %v", next)
	}
}

// TestTicketKeyOfAClockAhead: a key of session tickets that was made by a clock years ahead is
// replaced, and opens tickets for a while; one that is hours ahead stays.
func TestTicketKeyOfAClockAhead(t *testing.T) {
	t.Parallel()
	path, key := certstore.Path("tls", "tickets"), base64.StdEncoding.EncodeToString(make([]byte, 32))
	for since, stays := range map[string]bool{farAhead(): false, time.Now().Add(3 * time.Hour).UTC().Format(time.RFC3339Nano): true} {
		store := newMemory()
		version, err := store.Put(context.Background(), path, map[string]string{"keys": key, "since": since}, 0)
		if err != nil {
			t.Fatal(err)
		}
		known := make(chan struct{})
		i, err := acme.New(acme.Options{Store: store, Certificates: tls.NewStore(), Name: "test", Read: func() { close(known) }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); i.Run(ctx) }()
		i.Changed()
		<-known
		if stays {
			time.Sleep(50 * time.Millisecond) // as long as the other one takes, or longer
		} else {
			until(t, "another key", func() bool { r, _ := store.Get(ctx, path); return r.Version != version })
		}
		r, err := store.Get(ctx, path)
		if err != nil || (r.Version == version) != stays || !strings.HasSuffix(r.Items["keys"], key) {
			t.Errorf("since %s: the record is %+v, %v", since, r, err)
		}
		cancel()
		<-ended
	}
}
