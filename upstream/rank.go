package upstream

import "time"

// rank is the queue of its namespace in which an endpoint waits for a look. There are
// several so that long queues do not delay the others.
type rank uint8

const (
	nowhere   rank = iota
	wanted         // requests wait for it: before all others
	due            // new, or lost, or its check must be repeated: needs no budget
	starting       // the first of the queues for endpoints whose last look failed
	lineCount = starting + agesApart
)

// agesApart is the number of queues for endpoints whose last look failed, by how long
// they have been away: up to a second, four, sixteen and so on. So a new instance does
// not wait behind thousands that never start.
const agesApart = 6

// repeats is the queue of an endpoint whose last look failed and that has been away for
// age.
func repeats(age time.Duration) rank {
	l := starting
	for limit := time.Second; age >= limit && l < lineCount-1; limit *= 4 {
		l++
	}
	return l
}

// place is an entry in a queue.
type place struct {
	endpoint *Endpoint
	ticket   uint64
}

// fifo is first in, first out.
type fifo struct{ places []place }

// first returns the endpoint of the first valid place, nil when there is none.
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
