package admin

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// followedAnswers are the answers that somebody follows. The zero value has none.
type followedAnswers struct {
	mu    sync.Mutex
	known map[string]*followed
}

// followed is one of them. It is made once for all who follow it.
type followed struct {
	users int // guarded by followedAnswers.mu

	mu   sync.Mutex
	held holding // of text
	text []byte  // nil when there was no room for it; never modified
	sum  uint64
	// next is when it is to be made again, pause the time from one to the next.
	next  time.Time
	pause time.Duration
}

// sums tell whether an answer has changed.
var sums = maphash.MakeSeed()

// join returns the answer with this key, until leave.
func (a *followedAnswers) join(key string, g *gate) *followed {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.known[key]
	if f == nil {
		if a.known == nil {
			a.known = make(map[string]*followed)
		}
		f = &followed{held: holding{gate: g}}
		a.known[key] = f
	}
	f.users++
	return f
}

func (a *followedAnswers) leave(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.known[key]
	if f.users--; f.users == 0 {
		delete(a.known, key)
		f.held.give()
	}
}

// now returns the answer, made anew if that is due, its sum, and when to ask again. The answer is nil when there is no
// room for it.
func (f *followed) now(ctx context.Context, prepare func() func() []byte) ([]byte, uint64, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Now().Before(f.next) {
		return f.text, f.sum, f.pause
	}
	makes := prepare()
	f.held.gate.alone(ctx, func() {
		f.held.give()
		began := time.Now()
		f.text = makes()
		f.pause = followPause(time.Since(began))
		if f.sum = maphash.Bytes(sums, f.text); !f.held.take(int64(cap(f.text))) {
			f.text = nil
			f.held.gate.refused.Add(1)
		}
		f.next = time.Now().Add(f.pause)
	})
	return f.text, f.sum, f.pause
}
