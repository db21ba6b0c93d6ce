package acme

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// TestRestsOfTheCA: each failure of a CA lengthens its rest, and the CA may say more; what
// fails beside it counts with it.
func TestRestsOfTheCA(t *testing.T) {
	var c busyCA
	now := time.Now()
	rest := func(told time.Duration) time.Duration {
		c.failed(told, now)
		return c.until.Sub(now)
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		for range 6 {
			if got := rest(0); got != want*time.Second {
				t.Errorf("rest %d: %v, want %v s", i, got, want)
			}
		}
		now = c.until
	}
	if got := rest(5 * time.Minute); got != 5*time.Minute {
		t.Errorf("told five minutes: %v", got)
	}
	if got := rest(0); got != 5*time.Minute {
		t.Errorf("told nothing after that: %v", got)
	}
	if got := rest(24 * time.Hour); got != afterLimit {
		t.Errorf("told a day: %v", got)
	}
}

// TestFailureOfTheCA: what a host could cause is no failure of the CA.
func TestFailureOfTheCA(t *testing.T) {
	for text, want := range map[string]bool{
		"[a.test] Obtain: registering account [mailto:a@b.test] with server: provisioning client: HTTP 500: broken":                             true,
		"[a.test] Obtain: [a.test] creating new order: HTTP 503: busy":                                                                          true,
		"[a.test] Obtain: [a.test] creating new order: HTTP 500: broken":                                                                        false,
		"[a.test] Obtain: [a.test] creating new order: HTTP 429: slow down":                                                                     false,
		"[a.test] Obtain: subject does not qualify for a public certificate: a.test":                                                            false,
		"[a.test] Obtain: [a.test] creating new order: fetching new nonce from server: performing request: Head \"https://ca.test/nonce\": EOF": true,
	} {
		if err := errors.New(text); ofCA(err, refusalOf(err)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	for before, want := range map[string]bool{"[a.test] Obtain: provisioning client: ": true, "[a.test] Obtain: ": false} {
		err := fmt.Errorf("%s%w", before, acme.Problem{Status: 403, Type: acme.ProblemTypeUnauthorized, Detail: `the file was "x", not "provisioning client: fetching new nonce from server: HTTP 503: y"`})
		if ofCA(err, refusalOf(err)) != want {
			t.Errorf("%q: %v", err, !want)
		}
	}
}
