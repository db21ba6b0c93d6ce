package consulsim

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"serai/internal/faulty"
)

// Fault answers a request instead of the agent, or lets next answer and changes the
// answer.
type Fault = faulty.Fault

// Inject applies a fault to requests of a kind (the first two parts of the path after
// /v1/, such as "health/service"; "" is all), until remove is called. Of several the
// last one counts.
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

// NoLeader is what an agent answers during an election, at once.
func NoLeader() Fault { return Status(http.StatusInternalServerError, "No cluster leader") }

// Forbidden is what an agent answers to a token that it does not know.
func Forbidden() Fault { return Status(http.StatusForbidden, "ACL not found") }

// Body answers 200 with a body of the given type and an index.
func Body(contentType string, index uint64, body string) Fault {
	return faulty.Answer(http.StatusOK, head(contentType, index), body)
}

func head(contentType string, index uint64) http.Header {
	return http.Header{
		"Content-Type":         {contentType},
		"X-Consul-Index":       {strconv.FormatUint(index, 10)},
		"X-Consul-Knownleader": {"true"},
		"X-Consul-Lastcontact": {"0"},
	}
}

// Empty answers that there is nothing, at an index that looks right: what an agent says
// to a token that may read nothing, with the header that tells (hidden) or, to requests
// without a token, without it.
func Empty(index uint64, hidden bool) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		for k, v := range head("application/json", index) {
			w.Header()[k] = v
		}
		if hidden {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		}
		body := "[]"
		if r.URL.Path == "/v1/catalog/services" {
			body = "{}"
		}
		w.Write([]byte(body))
	}
}

// Unloaded answers queries that wait as an agent does that has not received what they ask
// for before their wait ended, since it cannot reach the servers: that nothing is there.
// Other queries get the truth.
func Unloaded() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.HasPrefix(r.URL.Path, "/v1/health/service/") || r.URL.Query().Get("index") == "" {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("X-Consul-Index", "1")
		h.Set("X-Consul-KnownLeader", "false")
		h.Set("X-Consul-LastContact", "0")
		h.Set("X-Consul-Query-Backend", "streaming")
		h.Set("Content-Type", "application/json")
		w.Write([]byte("[]"))
	}
}

// Behind answers as a server does that has started anew and has read its log up to a state:
// also as the leader, before it knows what else it had. Consistent reads it refuses.
func Behind(state *State) Fault {
	old := New(Options{})
	old.Restore(state)
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		p := r.URL.Query()
		if p.Has("consistent") {
			refuse(w, http.StatusInternalServerError, "rpc error: Not ready to serve consistent reads")
			return
		}
		p.Del("index")
		r = r.Clone(r.Context())
		r.URL.RawQuery = p.Encode()
		old.ServeHTTP(w, r)
	}
}

// At answers the truth, at another index: 0 is none at all.
func At(index uint64) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&indexWriter{w, index}, r)
	}
}

// indexWriter replaces the index of an answer.
type indexWriter struct {
	http.ResponseWriter
	index uint64
}

func (w *indexWriter) Write(b []byte) (int, error) {
	if w.index == 0 {
		w.Header().Del("X-Consul-Index")
	} else {
		w.Header().Set("X-Consul-Index", strconv.FormatUint(w.index, 10))
	}
	return w.ResponseWriter.Write(b)
}

// Rising answers the truth at once, at an index that is always beyond what is waited for.
func Rising() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		p := r.URL.Query()
		index, _ := strconv.ParseUint(p.Get("index"), 10, 64)
		if index == 0 {
			next.ServeHTTP(w, r)
			return
		}
		p.Del("index")
		at := r.Clone(r.Context())
		at.URL.RawQuery = p.Encode()
		next.ServeHTTP(&indexWriter{w, index + 1}, at)
	}
}

// Lost answers the truth as a server does that has lost its leader: stale, and since
// when.
func Lost(contact time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !r.URL.Query().Has("stale") && strings.Count(r.URL.Path, "/") > 2 && !strings.HasPrefix(r.URL.Path, "/v1/agent/") {
			noLeader(w)
			return
		}
		next.ServeHTTP(&lostWriter{w, contact}, r)
	}
}

type lostWriter struct {
	http.ResponseWriter
	contact time.Duration
}

func (w *lostWriter) Write(b []byte) (int, error) {
	w.Header().Set("X-Consul-KnownLeader", "false")
	w.Header().Set("X-Consul-LastContact", strconv.FormatInt(w.contact.Milliseconds(), 10))
	return w.ResponseWriter.Write(b)
}

// WebPage answers 200 and a web page, like a load balancer's login.
func WebPage() Fault { return Body("text/html", 7, "<!DOCTYPE html><title>Welcome</title>") }

// Deep answers 200 and n nested lists.
func Deep(n int) Fault {
	return Body("application/json", 7, strings.Repeat("[", n)+strings.Repeat("]", n))
}

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
