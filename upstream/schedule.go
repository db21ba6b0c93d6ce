package upstream

import "time"

// plan is the result of a look: another look after a pause, in that queue, or none
// until one is requested.
type plan struct {
	after time.Duration
	line  rank
}

// turn is the prober's state of an endpoint.
type turn uint8

const (
	resting turn = iota // nothing happens until a look is requested
	waiting             // it waits until its pause is over
	queued              // in a queue
	running             // it is being looked at
)

// schedule is what a prober keeps for an endpoint. It is guarded by the prober's mu.
type schedule struct {
	turn     turn
	line     rank   // the queue where it is, or will be after its pause
	repeat   bool   // its last look failed
	ticket   uint64 // ticket of its place: an entry in a queue with another ticket is void
	again    bool   // a look was requested while one was running
	timer    *time.Timer
	earliest time.Time // requests that wait cause no look before this
	wanted   time.Time // until when requests want it
}
