package admin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serai/internal/memory"
)

// unread is a client that takes nothing, until it is given a deadline.
type unread struct {
	http.ResponseWriter
	ended chan struct{}
}

func newUnread() *unread { return &unread{httptest.NewRecorder(), make(chan struct{})} }

func (u *unread) Write([]byte) (int, error)        { <-u.ended; return 0, context.DeadlineExceeded }
func (u *unread) SetWriteDeadline(time.Time) error { close(u.ended); return nil }

// answerOf is a handler whose answer holds so many bytes.
func answerOf(g *gate, bytes int64) http.Handler {
	return g.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := admit(g, w, r, func() (any, int64) { return nil, bytes }); ok {
			w.Write([]byte("x"))
		}
	}))
}

// TestGateEndsTheUnread: where clients that read nothing hold all there is, the one that has read nothing for
// longest makes room for the next one, and for no more than that.
func TestGateEndsTheUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memory.NewBudget(10_000)
		g := newGate(1000, b)
		var all sync.WaitGroup
		clients := make([]*unread, 4)
		for i := range clients {
			clients[i] = newUnread()
			all.Go(func() { answerOf(g, 250).ServeHTTP(clients[i], httptest.NewRequest("GET", "/", nil)) })
			time.Sleep(10 * time.Millisecond)
		}
		if n, _ := b.Taken(memory.Buffers); g.taken() != 1000 || n != 1000 {
			t.Fatalf("%d are held, and %d of the memory of clients", g.taken(), n)
		}
		w := httptest.NewRecorder()
		answerOf(g, 200).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.Code != 200 || w.Body.String() != "x" {
			t.Errorf("one more is answered %d %s", w.Code, w.Body)
		}
		for i, c := range clients {
			select {
			case <-c.ended:
				if i != 0 {
					t.Errorf("client %d was ended", i)
				}
				continue
			default:
			}
			if i == 0 {
				t.Error("the first one was not ended")
			}
			close(c.ended)
		}
		all.Wait()
		if n, _ := b.Taken(memory.Buffers); g.taken() != 0 || n != 0 || g.ended.Load() != 1 || g.refused.Load() != 0 {
			t.Errorf("at the end %d and %d are held, %d ended, %d refused", g.taken(), n, g.ended.Load(), g.refused.Load())
		}
	})
}

// TestGateRefuses: where others hold all there is, and read it, one more waits, and is refused with
// the reason; it gets it when there is room. One that is alone gets what it wants, even more than there is.
func TestGateRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, b := range []*memory.Budget{nil, memory.NewBudget(160)} {
			g := newGate(1000, b)
			free := make(chan struct{})
			var holder sync.WaitGroup
			holder.Go(func() {
				g.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if _, ok := admit(g, w, r, func() (any, int64) { return nil, 5000 }); !ok {
						t.Error("one that is alone is refused")
					}
					<-free // it is not stalled: something else takes its time
				})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			})
			synctest.Wait()
			w := httptest.NewRecorder()
			answerOf(g, 1).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != 503 || w.Header().Get("Retry-After") == "" || g.refused.Load() != 1 {
				t.Errorf("without room it is answered %d %s", w.Code, w.Body)
			}
			w = httptest.NewRecorder()
			var later sync.WaitGroup
			later.Go(func() { answerOf(g, 1).ServeHTTP(w, httptest.NewRequest("GET", "/", nil)) })
			time.Sleep(patience / 2)
			close(free)
			later.Wait()
			holder.Wait()
			if w.Code != 200 || g.refused.Load() != 1 || g.taken() != 0 {
				t.Errorf("when there is room again it is answered %d %s, %d are held", w.Code, w.Body, g.taken())
			}
		}
	})
}

// TestGateMakesOneAtATime: whatever many ask for at once, one answer is made at a time, whoever has left waits for
// none, and one that panics keeps nobody from it.
func TestGateMakesOneAtATime(t *testing.T) {
	g := newGate(0, nil)
	var now, most atomic.Int64
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			defer func() { recover() }()
			g.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				admit(g, w, r, func() (any, int64) {
					most.Store(max(most.Load(), now.Add(1)))
					defer now.Add(-1)
					time.Sleep(time.Millisecond)
					if i%8 == 0 {
						panic("a bug")
					}
					return nil, 1
				})
			})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		})
	}
	all.Wait()
	if most.Load() != 1 || g.taken() != 0 || len(g.turn) != 0 {
		t.Errorf("%d were made at a time, %d bytes are held", most.Load(), g.taken())
	}
	g.turn <- struct{}{} // somebody makes one
	gone, leave := context.WithCancel(t.Context())
	leave()
	if g.alone(gone, func() { t.Error("it is made for nobody") }) {
		t.Error("one who has left had a turn")
	}
}

// TestFollowersShareAnAnswer: it is made once for all who follow it, each of whom gets it.
func TestFollowersShareAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Admin{options: Options{MaxFollowers: 10}, gate: newGate(0, nil)}
		made := 0
		makes := func() []byte { made++; return []byte{'a' + byte(made)} }
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		clients := make([]*httptest.ResponseRecorder, 10)
		for i := range clients {
			clients[i] = httptest.NewRecorder()
			all.Go(func() {
				a.gate.through(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					a.stream(w, r, "key", apiBeat, func() func() []byte { return makes })
				})).ServeHTTP(clients[i], httptest.NewRequest("GET", "/", nil).WithContext(ctx))
			})
		}
		time.Sleep(9*followEvery + followEvery/2)
		synctest.Wait()
		if made != 10 {
			t.Errorf("in nine seconds and a half it was made %d times for %d who follow it, want 10", made, len(clients))
		}
		if a.gate.taken() == 0 {
			t.Error("it holds nothing")
		}
		cancel()
		all.Wait()
		for _, c := range clients {
			if c.Body.String() != clients[0].Body.String() || c.Body.Len() < len("data: a\n\n")*10 {
				t.Errorf("one got %q, another %q", c.Body, clients[0].Body)
			}
		}
		if len(a.followed.known) != 0 || a.gate.taken() != 0 || a.followers.Taken() != 0 {
			t.Errorf("at the end %d answers are followed by %d, and hold %d bytes", len(a.followed.known), a.followers.Taken(), a.gate.taken())
		}
	})
}
