package front

import "time"

// Each connection is checked once in watchTurns ticks, so that thousands of long answers
// cost little.
const (
	watchEvery = 250 * time.Millisecond
	watchTurns = 3
)

// watchScarce is the time between two checks of all connections when memory or
// connections are scarce.
const watchScarce = 20 * time.Millisecond

// watch checks the connections until end is closed, when no listener and no connection
// is left. Then it ends the workers: nobody gives them a connection any more.
func (s *Server) watch(end <-chan struct{}, w *workers) {
	defer close(w.next)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	memory := s.options.Clients.memory.Scarce()
	var some []*Conn
	var accepted uint64
	for turn := 0; ; {
		var now time.Time
		select {
		case <-end:
			return
		case now = <-tick.C:
			turn++
			if n := s.accepted.Load(); n == accepted {
				w.trim()
			} else {
				accepted = n
			}
		case <-memory:
		case <-s.own.scarce:
		case <-s.options.Clients.scarce:
		}
		if now.IsZero() {
			time.Sleep(watchScarce) // gives connections that were told to make room time to do so
			now = time.Now()
		}
		some = s.due(turn%watchTurns, some[:0])
		for _, c := range some {
			c.check(now)
		}
		s.own.settle()
		s.options.Clients.settle()
		clear(some)
	}
}

// due appends the connections whose turn it is, or all when memory or connections are
// scarce.
func (s *Server) due(turn int, to []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.options.Clients
	all := shared.memory.Tight() || shared.tight() || s.own.tight() // then they must make room soon
	for c := range s.conns {
		if all || c.Shard%watchTurns == turn {
			c.watched = true
			to = append(to, c)
		}
	}
	return to
}
