// Package faulty makes simulated agents fail: in each way in which a real one, or the
// network before it, was seen to fail.
package faulty

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Fault answers a request instead of the agent, or lets next answer and changes the
// answer.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Faults are those of one agent. The zero value is none.
type Faults struct {
	mu   sync.Mutex
	list []*injected
}

type injected struct {
	kind  string
	fault Fault
}

// Inject applies a fault to requests of a kind ("" is all), until remove is called. Of
// several the last one counts.
func (f *Faults) Inject(kind string, fault Fault) (remove func()) {
	in := &injected{kind, fault}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, in)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = slices.DeleteFunc(f.list, func(i *injected) bool { return i == in })
	}
}

// Find returns the fault for requests of a kind, or nil.
func (f *Faults) Find(kind string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, in := range slices.Backward(f.list) {
		if in.kind == "" || in.kind == kind {
			return in.fault
		}
	}
	return nil
}

// Times applies a fault to n requests and then lets requests through.
func Times(n int, f Fault) Fault {
	var seen atomic.Int64
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if seen.Add(1) > int64(n) {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	}
}

// Answer answers with a status, a head and a body.
func Answer(status int, head http.Header, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		maps.Copy(w.Header(), head)
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// Redirect sends the client elsewhere.
func Redirect(url string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, url, http.StatusTemporaryRedirect)
	}
}

// Truncated sends the first half of the real answer and closes the connection.
func Truncated() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		rec := httptest.NewRecorder()
		next.ServeHTTP(rec, r)
		maps.Copy(w.Header(), rec.Header())
		w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()))
		w.WriteHeader(rec.Code)
		w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Slow waits before the real answer, or until the client leaves.
func Slow(d time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		takeBody(r)
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}
}

// Silent sends the head of a 200 and then nothing until the client leaves.
func Silent() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		takeBody(r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

// takeBody reads a request's body into memory, because a server detects that its client
// has left only after the body was read.
func takeBody(r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err == nil {
		r.Body = io.NopCloser(bytes.NewReader(b))
	}
}

// Endless answers 200 and n bytes of a JSON list, or as many as it can write.
func Endless(head http.Header, n int64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		maps.Copy(w.Header(), head)
		io.WriteString(w, "[")
		io.CopyN(w, spaces{}, n)
		io.WriteString(w, "]")
	}
}

// Bomb is Endless in a few compressed bytes.
func Bomb(head http.Header, n int64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		maps.Copy(w.Header(), head)
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		defer z.Close()
		io.CopyN(z, spaces{}, n)
	}
}

// spaces is an endless reader of blanks.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
