package consul

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestBrokenWait: a query whose connection breaks while the agent waits is an error. Nobody
// repeats it with an index that a new agent may not reach for long.
func TestBrokenWait(t *testing.T) {
	var waits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == "" {
			w.Header().Set("X-Consul-Index", "7")
			io.WriteString(w, "{}")
			return
		}
		if waits.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		<-r.Context().Done()
	}))
	defer s.Close()
	c := newTestClient(t, Options{Address: s.URL})
	if _, err := c.EachService(t.Context(), Query{}, uncared); err != nil { // opens a connection, which is used again
		t.Fatal(err)
	}
	if _, err := c.EachService(t.Context(), Query{Index: 7}, uncared); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// TestHeadWithoutBody: an agent that has begun to answer does not wait any more.
func TestHeadWithoutBody(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	c := newTestClient(t, Options{Address: s.URL, Limits: Limits{Request: 50 * time.Millisecond}})
	if _, err := c.EachService(t.Context(), Query{Index: 7}, uncared); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}
