package upstream

import "time"

// rank is the line in which an endpoint stands while it waits for a look, among
// those of its namespace. That lines with many endpoints do not keep the others
// waiting is what they are there for.
type rank uint8

const (
	nowhere   rank = iota
	wanted         // requests wait for it: before all others
	due            // never looked at, or lost, or its check is to be repeated: within no budget
	starting       // the first of the lines for those that were looked at in vain
	lineCount = starting + agesApart
)

// agesApart is into how many lines those that were looked at in vain are put by
// how long they have been away: up to a second, four, sixteen and so on. What has
// just been registered does not stand behind thousands that never start.
const agesApart = 6

// repeats is the line of an endpoint that was looked at in vain and has been away
// for so long.
func repeats(age time.Duration) rank {
	l := starting
	for limit := time.Second; age >= limit && l < lineCount-1; limit *= 4 {
		l++
	}
	return l
}

// place is one in a line.
type place struct {
	endpoint *Endpoint
	ticket   uint64
}

// fifo is first in, first out.
type fifo struct{ places []place }

// first returns the first place that holds, nil when there is none.
func (q *fifo) first() *Endpoint {
	for len(q.places) > 0 {
		p := q.places[0]
		if s := &p.endpoint.schedule; s.turn == queued && s.ticket == p.ticket {
			return p.endpoint
		}
		q.drop()
	}
	q.places = nil
	return nil
}

func (q *fifo) drop() {
	q.places[0] = place{}
	q.places = q.places[1:]
}
