package admin

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"serai/internal/memory"
	"serai/internal/pace"
)

const (
	// defaultMemory is the default of Options.MaxMemory.
	defaultMemory = 32 << 20
	// patience is how long an answer waits for room: less than the ten seconds that a
	// Prometheus waits for it.
	patience = 5 * time.Second
	// stalled is how long a client has read nothing when its answer may be ended, so that others
	// have room.
	stalled = time.Second
)

// gate bounds what answers cost everything else. One is made at a time, so that requests find
// a processor beside it; what answers hold until they are sent is counted, in the memory of
// clients, too. Where there is no room, the one that its client has not read from for longest
// ends. A single answer always finds room: who has to see what is wrong is not shut out by it.
//
// What must be answered in any case does not pass it: /health and /ready.
type gate struct {
	turn   chan struct{} // is full while an answer is made
	limit  int64         // bytes of all answers
	client memory.Client // the admin's part of the memory of clients

	mu    sync.Mutex
	under map[*sending]struct{}
	held  int64         // by all holdings
	room  chan struct{} // closed when something is given back, nil when nobody waits for that

	refused, ended atomic.Uint64
}

func newGate(limit int64, b *memory.Budget) *gate {
	g := &gate{turn: make(chan struct{}, 1), limit: cmp.Or(limit, defaultMemory), under: make(map[*sending]struct{})}
	g.client.Join(b)
	return g
}

// holding is what somebody holds of the gate's memory. Guarded by gate.mu.
type holding struct {
	gate *gate
	// counted is the part of held that the memory of clients has.
	held, counted int64
}

// sending is an answer that passes the gate.
type sending struct {
	http.ResponseWriter
	holding
	// since when a write waits for the client, zero while none does: guarded by gate.mu.
	since time.Time
	pace  pace.Pace
}

// through has a handler pass the gate.
func (g *gate) through(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &sending{ResponseWriter: w, holding: holding{gate: g}}
		g.mu.Lock()
		g.under[s] = struct{}{}
		g.mu.Unlock()
		defer func() {
			s.give()
			g.mu.Lock()
			delete(g.under, s)
			g.mu.Unlock()
		}()
		next.ServeHTTP(s, r)
	})
}

// Unwrap is for http.ResponseController.
func (s *sending) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Write notes how long the client takes. Who writes much gives the processor up now and then.
func (s *sending) Write(p []byte) (int, error) {
	s.pace.Step()
	defer s.waits()()
	return s.ResponseWriter.Write(p)
}

// FlushError is Flush of http.ResponseController, which notes it, too.
func (s *sending) FlushError() error {
	defer s.waits()()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// waits notes that the client is waited for, and returns what notes the end of that.
func (s *sending) waits() func() {
	note := func(t time.Time) {
		s.gate.mu.Lock()
		s.since = t
		s.gate.mu.Unlock()
	}
	note(time.Now())
	return func() { note(time.Time{}) }
}

// take holds n bytes more, and reports whether there is room.
func (h *holding) take(n int64) bool {
	g := h.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	alone := g.held == h.held
	if !alone && g.held+n > g.limit {
		return false
	}
	if g.client.Take(memory.Buffers, n) {
		h.counted += n
	} else if !alone {
		return false
	}
	h.held += n
	g.held += n
	return true
}

// give gives everything back.
func (h *holding) give() {
	g := h.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.held == 0 {
		return
	}
	g.client.Give(memory.Buffers, h.counted)
	g.held -= h.held
	h.held, h.counted = 0, 0
	if g.room != nil {
		close(g.room)
		g.room = nil
	}
}

// turn is somebody's turn to make an answer, or a part of one.
type turn struct {
	gate *gate
	has  bool
}

// enter waits for it, and reports whether the client still wants the answer.
func (t *turn) enter(ctx context.Context) bool {
	select {
	case t.gate.turn <- struct{}{}:
		t.has = true
	case <-ctx.Done():
	}
	return t.has
}

// leave ends it, if it has begun.
func (t *turn) leave() {
	if t.has {
		t.has = false
		<-t.gate.turn
		runtime.Gosched()
	}
}

// alone makes something while nobody else makes an answer, and reports whether it did: the client
// still wants it.
func (g *gate) alone(ctx context.Context, do func()) bool {
	t := turn{gate: g}
	defer t.leave()
	if !t.enter(ctx) {
		return false
	}
	do()
	return true
}

// admit has an answer made, while nobody else makes one, and returns it if there is room for the bytes that it holds; else the
// request has been refused. While there is none, the answer is dropped: it is made again when there is.
func admit[T any](g *gate, w http.ResponseWriter, r *http.Request, made func() (T, int64)) (v T, ok bool) {
	s, reserved := w.(*sending), int64(0)
	for late := time.Now().Add(patience); ; {
		needs := int64(0)
		if !g.alone(r.Context(), func() {
			v, needs = made()
			ok = needs <= reserved || s.take(needs-reserved)
		}) || ok {
			return v, ok
		}
		s.give()
		var none T
		v = none
		if !s.await(r.Context(), needs, late) {
			g.refused.Add(1)
			w.Header().Set("Retry-After", "5")
			answer(w, http.StatusServiceUnavailable, map[string]string{"error": fmt.Sprintf("other responses use all of the %d bytes of --admin-memory: try again, or raise it", g.limit)})
			return v, false
		}
		reserved = needs
	}
}

// await waits until n bytes can be taken, and takes them. Meanwhile it sees to it that others make room. It is false when
// that takes too long.
func (s *sending) await(ctx context.Context, n int64, late time.Time) bool {
	tick := time.NewTicker(stalled / 10)
	defer tick.Stop()
	for time.Now().Before(late) {
		room := s.gate.nextRoom()
		if s.take(n) {
			return true
		}
		s.gate.endStalled()
		select {
		case <-room:
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// nextRoom is closed when something is given back.
func (g *gate) nextRoom() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.room == nil {
		g.room = make(chan struct{})
	}
	return g.room
}

// endStalled ends the answer that its client has not read from for longest, if that is long.
func (g *gate) endStalled() {
	g.mu.Lock()
	defer g.mu.Unlock()
	var worst *sending
	for s := range g.under {
		if s.held > 0 && !s.since.IsZero() && time.Since(s.since) > stalled && (worst == nil || s.since.Before(worst.since)) {
			worst = s
		}
	}
	if worst == nil {
		return
	}
	worst.since = time.Time{} // it is ended once
	g.ended.Add(1)
	// Its write returns, and so does its handler.
	http.NewResponseController(worst.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
}

// taken returns how many bytes answers hold.
func (g *gate) taken() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.held
}
