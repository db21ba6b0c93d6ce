package acme_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"serai/tls/acme"
	"serai/tls/acme/acmetest"
)

// TestRetryAfter: a CA, or what stands before it, says in many ways when to come again.
func TestRetryAfter(t *testing.T) {
	const problem, host = "application/problem+json", "a.example.org"
	limited := `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"no"}`
	date := time.Now().Add(3 * time.Hour).UTC().Format(http.TimeFormat)
	for _, c := range []struct {
		name, kind, body string
		status           int
		after            string
		least, most      time.Duration // a fifth may be added at random
	}{
		{"limited", problem, limited, 429, "7200", 2 * time.Hour, 3 * time.Hour},
		{"limited until a date", problem, limited, 429, date, 2 * time.Hour, 4 * time.Hour},
		{"limited, and it does not say for how long", problem, limited, 429, "", 15 * time.Minute, 20 * time.Minute},
		{"limited for ever", problem, limited, 429, "99999999999999999999", 7 * 24 * time.Hour, 9 * 24 * time.Hour},
		{"limited, says a page", "text/html", "<h1>Slow down</h1>", 429, "7200", 2 * time.Hour, 3 * time.Hour},
		{"limited, says JSON of another kind", "application/json", limited, 429, "7200", 2 * time.Hour, 3 * time.Hour},
		{"limited with the status of one that is busy", problem, limited, 503, "7200", 2 * time.Hour, 3 * time.Hour},
		{"busy", problem, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"no"}`, 503, "7200", 2 * time.Hour, 3 * time.Hour},
		{"busy, says a page", "text/html", "<h1>Busy</h1>", 503, "7200", 2 * time.Hour, 3 * time.Hour},
		{"busy for ever", "text/html", "<h1>Busy</h1>", 503, "99999999", 6 * time.Hour, 8 * time.Hour},
		{"busy, and it does not say for how long", "text/html", "<h1>Busy</h1>", 503, "", 0, time.Minute},
		{"broken", "text/html", "<h1>Error</h1>", 500, "7200", 0, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Options{Offer: "http-01"})
			ca.Fail(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "order-plz") {
					return
				}
				w.Header().Set("Content-Type", c.kind)
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			o := orderAt(t, ca, newMemory(), acme.Limits{}, acme.Host{Name: host, Namespace: "default"})
			until(t, "a failure", func() bool { return o.told(host).Attempts > 0 })
			if next := time.Until(*o.told(host).Next); next < c.least-time.Minute || next > c.most {
				t.Errorf("the next order is in %v, want %v to %v; %s", next, c.least, c.most, o.told(host).Error)
			}
		})
	}
}
