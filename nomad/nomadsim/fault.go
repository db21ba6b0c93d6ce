package nomadsim

import (
	"bytes"
	"compress/gzip"
	"io"
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

type faults struct {
	mu   sync.Mutex
	list []*injected
}

type injected struct {
	kind  string
	fault Fault
}

// Inject applies a fault to requests of a kind (nomad.KindServices and so on; "" is
// all), until remove is called. Of several the last one counts.
func (s *Sim) Inject(kind string, f Fault) (remove func()) {
	in := &injected{kind, f}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, in)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.list = slices.DeleteFunc(s.faults.list, func(i *injected) bool { return i == in })
	}
}

func (f *faults) find(kind string) Fault {
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

// Status answers with a status and a text, like the agent's errors.
func Status(status int, text string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { refuse(w, status, "%s", text) }
}

// NoLeader is what an agent answers during an election.
func NoLeader() Fault { return Status(http.StatusInternalServerError, "No cluster leader") }

// Forbidden is what an agent answers when a capability is missing.
func Forbidden() Fault { return Status(http.StatusForbidden, "Permission denied") }

// Body answers 200 with a body of the given type and an index.
func Body(contentType string, index uint64, body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Nomad-Index", strconv.FormatUint(index, 10))
		w.Header().Set("X-Nomad-KnownLeader", "true")
		io.WriteString(w, body)
	}
}

// Empty answers an empty list at an index that looks right.
func Empty(index uint64) Fault { return Body("application/json", index, "[]") }

// WebPage answers 200 and a web page, like a load balancer's login.
func WebPage() Fault { return Body("text/html", 7, "<!DOCTYPE html><title>Welcome</title>") }

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
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
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
func Endless(n int64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Nomad-Index", "7")
		io.WriteString(w, "[")
		io.CopyN(w, spaces{}, n)
		io.WriteString(w, "]")
	}
}

// Bomb is Endless in a few compressed bytes.
func Bomb(n int64) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("X-Nomad-Index", "7")
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

// Lagging is a cluster whose followers do not advance: queries that any server may
// answer get the answer of the first time. The leader answers with the current state,
// and no query blocks.
func Lagging() Fault {
	var mu sync.Mutex
	old := map[string]*httptest.ResponseRecorder{}
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		q := r.URL.Query()
		if !q.Has("stale") || r.Method != http.MethodGet || q.Has("index") {
			next.ServeHTTP(w, r)
			return
		}
		key := r.URL.Path + "?" + q.Get("namespace")
		mu.Lock()
		defer mu.Unlock()
		if old[key] == nil {
			old[key] = httptest.NewRecorder()
			next.ServeHTTP(old[key], r)
		}
		for k, v := range old[key].Header() {
			w.Header()[k] = v
		}
		w.WriteHeader(old[key].Code)
		w.Write(old[key].Body.Bytes())
	}
}
