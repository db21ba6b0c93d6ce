package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// slowClient takes its time for each part of an answer.
type slowClient struct {
	http.ResponseWriter
	takes time.Duration
}

func (c slowClient) FlushError() error { time.Sleep(c.takes); return nil }

// TestFollowersAreNotLeftInSilence: who follows an answer hears of it at the latest after the
// heartbeat's time, however long it takes to make, and the client's own slowness costs it nothing.
func TestFollowersAreNotLeftInSilence(t *testing.T) {
	for name, c := range map[string]struct{ makes, takes, pause time.Duration }{
		"made at once":            {0, 0, followEvery},
		"made in 100 ms":          {100 * time.Millisecond, 0, 5 * time.Second},
		"made in 10 s":            {10 * time.Second, 0, heartbeat},
		"read slowly":             {0, 20 * time.Second, followEvery},
		"made and read in 100 ms": {100 * time.Millisecond, 100 * time.Millisecond, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			a := &Admin{options: Options{MaxFollowers: 1}, gate: newGate(0, nil)}
			var began []time.Time
			make := func() []byte {
				began = append(began, time.Now())
				if len(began) == 3 {
					cancel()
				}
				time.Sleep(c.makes)
				return []byte{'0' + byte(len(began))}
			}
			a.gate.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a.stream(w, r, "key", apiBeat, func() func() []byte { return make })
			})).ServeHTTP(slowClient{httptest.NewRecorder(), c.takes}, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
			want := c.makes + c.takes + c.pause
			if got := began[2].Sub(began[1]); got != want {
				t.Errorf("%s: the next answer is made after %v, want %v", name, got, want)
			}
			if a.followers.Taken() != 0 {
				t.Errorf("%s: it still has its place", name)
			}
		})
	}
}

// TestBeats: a stream of an answer that does not change says so, to a script of a page as an event, since it
// hears of no comment.
func TestBeats(t *testing.T) {
	for _, beat := range []string{apiBeat, pageBeat} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*heartbeat)
			defer cancel()
			a := &Admin{options: Options{MaxFollowers: 1}, gate: newGate(0, nil)}
			w := httptest.NewRecorder()
			a.gate.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				a.stream(w, r, "key", beat, func() func() []byte { return func() []byte { return []byte("same") } })
			})).ServeHTTP(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx))
			if want := "data: same\n\n" + beat + beat + beat; w.Body.String() != want {
				t.Errorf("it says %q, want %q", w.Body.String(), want)
			}
		})
	}
}
