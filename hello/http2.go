package hello

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// overHTTP2 answers HTTP/2 without TLS, by prior knowledge: gRPC, and the requests of
// HTTP/1 except WebSockets.
type overHTTP2 struct {
	*service
	server   http.Server
	running  sync.WaitGroup // counts the requests
	inFlight atomic.Int64
}

func newOverHTTP2(s *service) *overHTTP2 {
	h := &overHTTP2{service: s}
	m := http.NewServeMux()
	s.handleGRPC(m)
	m.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	m.HandleFunc("/echo", h.echo)
	m.HandleFunc("/slow", h.slow)
	m.HandleFunc("/sse", h.events)
	m.HandleFunc("/status/{status}", h.status)
	m.HandleFunc("/bytes/{count}", h.bytes)
	m.HandleFunc("/ws", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "WebSockets are for HTTP/1 here", http.StatusBadRequest)
	})
	h.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.running.Add(1)
		defer h.running.Done()
		h.inFlight.Add(1)
		defer h.inFlight.Add(-1)
		if _, pattern := m.Handler(r); pattern == "" || pattern == "/" {
			h.tell(w, r)
			return
		}
		m.ServeHTTP(w, r)
	})
	h.server.Protocols = new(http.Protocols)
	h.server.Protocols.SetUnencryptedHTTP2(true)
	h.server.MaxHeaderBytes = maxHead
	return h
}

// stop ends the connections after their requests, and returns how many requests were
// cut when ctx ended.
func (h *overHTTP2) stop(ctx context.Context) (left int) {
	if h.server.Shutdown(ctx) == nil {
		return 0
	}
	left = int(h.inFlight.Load())
	h.server.Close()
	h.running.Wait()
	return left
}

// tell answers with who the service is and what it received.
func (h *overHTTP2) tell(w http.ResponseWriter, r *http.Request) {
	a := Answer{
		Name: h.Name, Alloc: h.Alloc, Node: h.Node, Remote: r.RemoteAddr, Protocol: r.Proto, Method: r.Method,
		Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) { // their order was lost
		for _, value := range r.Header[name] {
			a.Headers = append(a.Headers, [2]string{name, value})
		}
	}
	var err error
	if a.Body, err = io.Copy(io.Discard, r.Body); err != nil {
		http.Error(w, fmt.Sprintf("read the body: %v", err), http.StatusBadRequest)
		return
	}
	var accept [][]byte
	for _, field := range r.Header["Accept"] {
		accept = append(accept, []byte(field))
	}
	if acceptsJSON(accept) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a)
		return
	}
	var text bytes.Buffer
	a.print(&text)
	w.Write(text.Bytes())
}

// echo answers with the body of the request, as it arrives.
func (h *overHTTP2) echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	if r.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	flush := http.NewResponseController(w).Flush
	b := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(b)
		if n > 0 {
			if _, err := w.Write(b[:n]); err != nil || flush() != nil {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler) // if the request is cut, the answer is, too
		}
	}
}

// slow waits before it answers, unless the client leaves.
func (h *overHTTP2) slow(w http.ResponseWriter, r *http.Request) {
	wait := durationIn(r.FormValue("wait"), 2*time.Second, 0)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		fmt.Fprintf(w, "%s waited %v\n", h.Name, wait)
	case <-r.Context().Done():
	case <-h.over.Done():
		panic(http.ErrAbortHandler)
	}
}

// events streams server-sent events.
func (h *overHTTP2) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	every := durationIn(r.FormValue("every"), 100*time.Millisecond, time.Millisecond)
	count, _ := strconv.Atoi(r.FormValue("count"))
	e := &eventStream{service: h.service, count: count, tick: time.NewTicker(every)}
	defer e.Close()
	flush := http.NewResponseController(w).Flush
	for {
		switch err := e.next(r.Context().Done()); err {
		case nil:
		case io.EOF:
			return
		default:
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(e.rest); err != nil || flush() != nil {
			return
		}
	}
}

// status answers with the status in the path.
func (h *overHTTP2) status(w http.ResponseWriter, r *http.Request) {
	status, ok := statusIn(r.PathValue("status"))
	if !ok {
		http.Error(w, badStatus, http.StatusBadRequest)
		return
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%s answers %d\n", h.Name, status)
}

// bytes answers with that many bytes.
func (h *overHTTP2) bytes(w http.ResponseWriter, r *http.Request) {
	n, ok := countIn(r.PathValue("count"))
	if !ok {
		http.Error(w, badCount, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(n))
	io.Copy(w, io.LimitReader(zeros{}, int64(n)))
}
