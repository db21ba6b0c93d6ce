package nomadsim

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"time"

	"serai/internal/faulty"
)

// Fault answers a request instead of the agent, or lets next answer and changes the
// answer.
type Fault = faulty.Fault

// Inject applies a fault to requests of a kind (nomad.KindServices and so on; "" is
// all), until remove is called. Of several the last one counts.
func (s *Sim) Inject(kind string, f Fault) (remove func()) { return s.faults.Inject(kind, f) }

// Partition stops (or resumes) all bytes on the connections that Run serves, without
// closing any, like an unplugged cable. New connections are accepted, as by a kernel,
// and stay silent.
func (s *Sim) Partition(cut bool) { s.net.Partition(cut) }

// Disconnect closes every connection that Run serves, as if the agent had crashed and
// restarted.
func (s *Sim) Disconnect() { s.net.Disconnect() }

// Times applies a fault to n requests and then lets requests through.
func Times(n int, f Fault) Fault { return faulty.Times(n, f) }

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
	return faulty.Answer(http.StatusOK, head(contentType, index), body)
}

// head is that of an answer at an index.
func head(contentType string, index uint64) http.Header {
	return http.Header{
		"Content-Type":        {contentType},
		"X-Nomad-Index":       {strconv.FormatUint(index, 10)},
		"X-Nomad-Knownleader": {"true"},
	}
}

// Empty answers an empty list at an index that looks right.
func Empty(index uint64) Fault { return Body("application/json", index, "[]") }

// WebPage answers 200 and a web page, like a load balancer's login.
func WebPage() Fault { return Body("text/html", 7, "<!DOCTYPE html><title>Welcome</title>") }

// Redirect sends the client elsewhere.
func Redirect(url string) Fault { return faulty.Redirect(url) }

// Truncated sends the first half of the real answer and closes the connection.
func Truncated() Fault { return faulty.Truncated() }

// Slow waits before the real answer, or until the client leaves.
func Slow(d time.Duration) Fault { return faulty.Slow(d) }

// Silent sends the head of a 200 and then nothing until the client leaves.
func Silent() Fault { return faulty.Silent() }

// Endless answers 200 and n bytes of a JSON list, or as many as it can write.
func Endless(n int64) Fault { return faulty.Endless(head("application/json", 7), n) }

// Bomb is Endless in a few compressed bytes.
func Bomb(n int64) Fault { return faulty.Bomb(head("application/json", 7), n) }

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
