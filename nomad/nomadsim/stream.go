package nomadsim

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"serai/nomad"
)

// stream is GET /v1/event/stream.
func (s *Sim) stream(w http.ResponseWriter, r *http.Request) {
	p := r.URL.Query()
	index, err := strconv.Atoi(cmpOr(p.Get("index"), "0"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "Unable to parse index: %v", err)
		return
	}
	topics := map[string][]string{}
	for _, t := range p["topic"] {
		name, key, ok := strings.Cut(t, ":")
		if !ok {
			key = "*"
		}
		topics[name] = append(topics[name], key)
	}
	if len(topics) == 0 {
		topics["*"] = []string{"*"}
	}
	namespace := cmpOr(p.Get("namespace"), nomad.DefaultNamespace)
	token := secret(r)

	s.mu.Lock()
	namespaces := []string{namespace}
	if namespace == nomad.AllNamespaces {
		namespaces = slices.Collect(maps.Keys(s.namespaces.names))
	}
	allowed := s.access.mayStream(token, namespaces)
	at := s.buffer.startAt(uint64(max(index, 0)))
	// In one step, so that whatever ends streams from now on also ends this one.
	sub := s.access.subscribe(&s.mu, token, namespaces)
	s.mu.Unlock()
	defer sub.unsubscribe()

	if !allowed && s.options.Refusal == RefusalForbidden {
		forbid(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	flusher := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	if flusher.Flush() != nil {
		return
	}
	if !allowed {
		if s.options.Refusal == RefusalSilence {
			<-r.Context().Done()
		}
		return
	}

	s.counter.streams.Add(1)
	defer s.counter.streams.Add(-1)
	send := func(line []byte) bool {
		_, err := w.Write(line)
		return err == nil && flusher.Flush() == nil
	}
	s.sendEvents(r.Context(), at, newFilter(namespaces, topics), sub.ended, send)
}

// sendEvents sends the batches from at on, and heartbeats, until the client leaves, the
// subscription has ended, or the client is too slow.
func (s *Sim) sendEvents(ctx context.Context, at *batch, f *filter, ended <-chan struct{}, send func(line []byte) bool) {
	heartbeat := []byte("{}\n")
	if !send(heartbeat) {
		return
	}
	if line := at.line(f); line != nil && !send(line) {
		return
	}
	tick := time.NewTicker(s.options.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-tick.C:
			if !send(heartbeat) {
				return
			}
		case <-at.arrived:
			select {
			case <-at.dropped:
				return // too slow: the next batch is forgotten already
			default:
			}
			at = at.next
			if line := at.line(f); line != nil && !send(line) {
				return
			}
		}
	}
}

func cmpOr(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
