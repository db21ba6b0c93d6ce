package upstream

import "time"

// plan is what a look leads to: another one after a while, in that line, or none
// until somebody asks.
type plan struct {
	after time.Duration
	line  rank
}

// turn is where an endpoint stands with the prober.
type turn uint8

const (
	resting turn = iota // nothing is to be done until somebody asks
	waiting             // for its time
	queued              // in a line
	running             // it is being looked at
)

// schedule is what a prober keeps of an endpoint. It is guarded by the prober's
// mu.
type schedule struct {
	turn     turn
	line     rank   // where it is, or will be when its time has come
	repeat   bool   // it is there after a look in vain
	ticket   uint64 // of its place: one in a line with another ticket is void
	again    bool   // somebody asked while it was running
	timer    *time.Timer
	earliest time.Time // before which those that want it do not have it looked at
	wanted   time.Time // until when it is
}
