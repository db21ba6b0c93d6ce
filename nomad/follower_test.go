package nomad_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"serai/nomad"
)

// TestFollower: an answer that looks older than the known version, or without the
// variable, counts only when the leader gives it.
func TestFollower(t *testing.T) {
	type step struct {
		stale  bool
		index  string // that the query waits for
		answer uint64 // the version; 0 for none
		at     uint64 // the index of the answer
	}
	script := []step{
		{false, "", 10, 10},
		{true, "10", 5, 8}, // lags behind
		{false, "", 12, 12},
		{true, "12", 0, 14}, // does not have it
		{false, "", 13, 14},
		{true, "14", 0, 15},
		{false, "", 0, 15}, // it is gone
		{true, "15", 16, 16},
	}
	var queries, want []string
	done := make(chan struct{})
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		n := len(queries)
		queries = append(queries, fmt.Sprint(q.Has("stale"), " ", q.Get("index")))
		if n >= len(script) {
			if n == len(script) {
				close(done)
			}
			<-r.Context().Done()
			return
		}
		s := script[n]
		w.Header().Set("X-Nomad-Index", fmt.Sprint(s.at))
		w.Header().Set("X-Nomad-KnownLeader", "true")
		if s.answer == 0 {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, "variable not found")
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"Namespace":"default","Path":"a","ModifyIndex":%d,"Items":{"x":"y"}}`, s.answer)
	}))
	for _, s := range script {
		want = append(want, fmt.Sprint(s.stale, " ", s.index))
	}
	f := nomad.Follower{
		Client: connect(t, nomad.Options{Address: address}), Path: "a",
		Older: func(v *nomad.Variable, _, version uint64) bool {
			return version > 0 && (v == nil || v.ModifyIndex < version)
		},
	}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
		cancel()
	}()
	var seen []uint64
	f.Run(ctx, func(v *nomad.Variable, err error) {
		switch {
		case err != nil:
			t.Error(err)
		case v == nil:
			seen = append(seen, 0)
		default:
			seen = append(seen, v.ModifyIndex)
		}
	})
	if versions := []uint64{10, 12, 13, 0, 16}; !slices.Equal(seen, versions) {
		t.Errorf("seen %v, want %v", seen, versions)
	}
	if len(queries) < len(want) || !slices.Equal(queries[:len(want)], want) {
		t.Errorf("asked for %q, want %q", queries, want)
	}
}

// TestFollowerWithoutALeader: a server without a leader is believed when it has the
// variable, and not when it has none.
func TestFollowerWithoutALeader(t *testing.T) {
	for _, has := range []bool{true, false} {
		address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case !r.URL.Query().Has("stale"):
				w.WriteHeader(http.StatusInternalServerError)
				io.WriteString(w, "No cluster leader")
			case has:
				w.Header().Set("X-Nomad-Index", "10")
				io.WriteString(w, `{"Namespace":"default","Path":"a","ModifyIndex":10,"Items":{"x":"y"}}`)
			default:
				w.Header().Set("X-Nomad-Index", "10")
				w.WriteHeader(http.StatusNotFound)
				io.WriteString(w, "variable not found")
			}
		}))
		f := nomad.Follower{
			Client: connect(t, nomad.Options{Address: address}), Path: "a",
			Older: func(*nomad.Variable, uint64, uint64) bool { return false },
		}
		ctx, cancel := context.WithCancel(testContext(t))
		f.Run(ctx, func(v *nomad.Variable, err error) {
			cancel()
			if (v != nil) != has || errors.Is(err, nomad.ErrUnavailable) == has {
				t.Errorf("the server has it: %v; seen %v, %v", has, v, err)
			}
		})
		cancel()
	}
}

// TestFollowerOfARisingIndex: a server that answers each query at once, at a higher index, is not
// asked as fast as it answers.
func TestFollowerOfARisingIndex(t *testing.T) {
	var asked atomic.Int64
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		w.Header().Set("X-Nomad-Index", fmt.Sprint(n))
		fmt.Fprintf(w, `{"Namespace":"default","Path":"a","ModifyIndex":%d,"Items":{"x":"y"}}`, n)
	}))
	f := nomad.Follower{
		Client: connect(t, nomad.Options{Address: address}), Path: "a",
		Older: func(*nomad.Variable, uint64, uint64) bool { return false },
	}
	ctx, cancel := context.WithCancel(testContext(t))
	began := time.Now()
	time.AfterFunc(3*time.Second, cancel)
	f.Run(ctx, func(*nomad.Variable, error) {})
	if n, most := asked.Load(), 22+int64(time.Since(began)/time.Second); n > most {
		t.Errorf("%d requests in %v, want at most %d", n, time.Since(began), most)
	}
}
