package front

import "time"

// Each connection is checked once in watchTurns ticks, so that thousands of
// event streams cost little.
const (
	watchEvery = 250 * time.Millisecond
	watchTurns = 3
)

// watchScarce is between two looks at all connections when memory or connections have
// become scarce.
const watchScarce = 20 * time.Millisecond

// watch ends what waits in vain, until end is closed: when no listener and no
// connection is left.
func (s *Server) watch(end <-chan struct{}) {
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
				s.endWorkers()
			} else {
				accepted = n
			}
		case <-memory:
		case <-s.own.scarce:
		case <-s.options.Clients.scarce:
		}
		if now.IsZero() {
			time.Sleep(watchScarce) // those who were told the last time have time to
			now = time.Now()
		}
		some = s.whose(turn%watchTurns, some[:0])
		for _, c := range some {
			c.check(now)
		}
		s.own.settle()
		s.options.Clients.settle()
		clear(some)
	}
}

// endWorkers ends some of the goroutines that wait for a connection, since none has
// come for a while: their stacks are for bursts.
func (s *Server) endWorkers() {
	for range maxIdleWorkers / 8 {
		select {
		case s.workers <- nil:
		default:
			return
		}
	}
}

// whose appends the connections whose turn it is, all where memory or connections are
// scarce.
func (s *Server) whose(turn int, to []*Conn) []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := s.options.Clients
	all := shared.memory.Tight() || shared.tight() || s.own.tight() // then they are to make room soon
	for c := range s.conns {
		if all || c.Shard%watchTurns == turn {
			c.watched = true
			to = append(to, c)
		}
	}
	return to
}
