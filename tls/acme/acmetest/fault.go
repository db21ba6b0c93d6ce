package acmetest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// Fail makes a handler answer instead of the CA; nil ends that. If a handler writes
// nothing, the CA answers.
func (c *CA) Fail(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = h
}

// Limited answers like a CA that accepts no more orders.
func Limited(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "order") {
		limited(w, "3600")
	}
}

// LimitedFor answers like a CA that accepts no more orders of a domain for so many
// seconds.
func LimitedFor(domain, seconds string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		names, _ := orderIn(body)
		if len(names) > 0 && strings.HasSuffix(names[0], "."+domain) {
			limited(w, seconds)
		}
	}
}

func limited(w http.ResponseWriter, seconds string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", seconds)
	w.WriteHeader(http.StatusTooManyRequests)
	io.WriteString(w, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders","status":429}`)
}

// Broken answers 500 to everything.
func Broken(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "broken", http.StatusInternalServerError)
}

// Forgotten refuses orders that name a replaced certificate, like a CA that does not
// know it.
func Forgotten(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	if _, replaces := orderIn(body); replaces != "" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusInternalServerError)
		io.WriteString(w, `{"type":"urn:ietf:params:acme:error:serverInternal","detail":"no order for the given certificate","status":500}`)
	}
}

// Silent answers nothing until the client leaves.
func Silent(_ http.ResponseWriter, r *http.Request) {
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}
