package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"serai/internal/quota"
)

var testTime = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func address(n int) netip.Prefix {
	return quota.ClientOf(netip.AddrFrom4([4]byte{192, 0, byte(n >> 8), byte(n)}))
}

func gateOf(slots int) *gate {
	var l PasswordLimits
	l.setDefaults()
	g := newGate(&l)
	g.free = slots
	return g
}

func waiting(g *gate) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting
}

// TestFlood: while one client sends as many wrong passwords as it can, another one that
// comes later waits for one of them.
func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(1)
		const each = time.Second
		stop := make(chan struct{})
		var all sync.WaitGroup
		refused := 0
		var mu sync.Mutex
		for range 50 {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					err := g.enter(address(1), nil)
					if err == nil {
						time.Sleep(each)
						g.leave()
						continue
					}
					mu.Lock()
					refused++
					mu.Unlock()
					time.Sleep(each / 10)
				}
			})
		}
		time.Sleep(3 * each)
		for range 5 {
			began := time.Now()
			if err := g.enter(address(2), nil); err != nil {
				t.Errorf("the other client: %v", err)
			} else if took := time.Since(began); took > 2*each {
				t.Errorf("the other client waited %v", took)
			}
			time.Sleep(each)
			g.leave()
		}
		close(stop)
		all.Wait()
		if refused == 0 {
			t.Error("no check of the flood was refused")
		}
	})
}

// TestGateMakesRoom: when all lines are full, a client that has none gets a place of the
// longest one.
func TestGateMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(0)
		results := make(chan error, 256)
		var all sync.WaitGroup
		for i := range 256 {
			all.Go(func() { results <- g.enter(address(i/8), nil) })
		}
		synctest.Wait()
		if n := waiting(g); n != 256 {
			t.Fatalf("%d wait", n)
		}
		if err := g.enter(address(0), nil); err != errClientBusy {
			t.Errorf("one more of a client with %d: %v", 8, err)
		}
		var late error
		all.Go(func() { late = g.enter(address(9999), nil) })
		synctest.Wait()
		if err := <-results; err != errClientBusy {
			t.Errorf("who makes room is told %v", err)
		}
		if n := waiting(g); n != 256 {
			t.Errorf("%d wait after that", n)
		}
		all.Wait() // nobody leaves: all wait in vain
		if late != errBusy || waiting(g) != 0 || len(g.lines) != 0 || len(g.turns) != 0 {
			t.Errorf("the late one: %v; %d wait, %d lines, %d turns", late, waiting(g), len(g.lines), len(g.turns))
		}
	})
}

// TestGateModel: whatever comes, leaves and gives up, there are never more checks than
// slots, and at the end all slots are free.
func TestGateModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(1, 3).Draw(rt, "slots")
		type client struct{ address, before, holds, patience int }
		clients := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) client {
			return client{rapid.IntRange(0, 4).Draw(rt, "address"), rapid.IntRange(0, 40).Draw(rt, "before"),
				rapid.IntRange(0, 30).Draw(rt, "holds"), rapid.IntRange(0, 60).Draw(rt, "patience")}
		}), 1, 60).Draw(rt, "clients")
		synctest.Test(t, func(t *testing.T) {
			g := gateOf(slots)
			var mu sync.Mutex
			inside, most := 0, 0
			var failed error
			var all sync.WaitGroup
			for _, c := range clients {
				all.Go(func() {
					time.Sleep(time.Duration(c.before) * 100 * time.Millisecond)
					gone := make(chan struct{})
					timer := time.AfterFunc(time.Duration(c.patience)*100*time.Millisecond, func() { close(gone) })
					defer timer.Stop()
					err := g.enter(address(c.address), gone)
					if err != nil {
						if !errors.Is(err, errGone) && !errors.Is(err, errBusy) && !errors.Is(err, errClientBusy) {
							mu.Lock()
							failed = fmt.Errorf("refused with %w", err)
							mu.Unlock()
						}
						return
					}
					mu.Lock()
					inside++
					most = max(most, inside)
					mu.Unlock()
					time.Sleep(time.Duration(c.holds) * 100 * time.Millisecond)
					mu.Lock()
					inside--
					mu.Unlock()
					g.leave()
				})
			}
			all.Wait()
			if failed != nil || most > slots || g.free != slots || g.waiting != 0 || len(g.lines) != 0 || len(g.turns) != 0 {
				rt.Fatalf("%v; %d inside of %d; at the end %d free, %d wait, %d lines, %d turns", failed, most, slots, g.free, g.waiting, len(g.lines), len(g.turns))
			}
		})
	})
}
