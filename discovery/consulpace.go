package discovery

import (
	"time"

	"golang.org/x/time/rate"

	"serai/consul"
)

// The most that is read of one list, in bytes a second, on average.
const bytesPerSecond = 1 << 20

// pace is the pause after an answer: a list that changes all the time costs no more than a
// share of the network and of the agent, and an agent that does not wait, or answers as of an
// older index, does not make us ask in a circle.
func pace(index uint64, meta *consul.Meta, began time.Time) time.Duration {
	pause := time.Duration(meta.Size) * time.Second / bytesPerSecond
	if meta.Index <= index && time.Since(began) < time.Second {
		pause = max(pause, time.Second)
	}
	return pause
}

// newTurns are those of one query: what changes all the time, or an agent, of Consul or of Nomad,
// that answers each query at once, has it asked ten times a second, after fifty times in which it is asked at once.
func newTurns() *rate.Limiter { return rate.NewLimiter(10, 50) }

// newSharedTurns are those of all queries for services together, of which there are at most that
// many: when all of them are answered at once again and again, the agent is not asked ten times a
// second for each. Each has two turns a second even then.
func newSharedTurns(watches int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(max(allRate, 2*watches)), max(allAtOnce, 4*watches))
}

// What a wait costs, when it ends with nothing new: a query for a service costs the agent a
// millisecond or less, a list costs the servers a hundred bytes for each service in it.
const (
	forEachQuery  = time.Second / 2
	forEachListed = 30 * time.Millisecond
	bytesListed   = 100
)

// wait is how long a query waits of which there are n, or whose list has n services. An agent,
// or a proxy before it, may have lost one that waits, and the connection does not show it; so
// the wait is short where that costs little.
func (r *consulRun) wait(n int, each time.Duration) time.Duration {
	const shortest, longest = time.Minute, 5 * time.Minute
	if r.options.Wait > 0 {
		return around(r.options.Wait)
	}
	return around(min(max(shortest, time.Duration(n)*each), longest))
}
