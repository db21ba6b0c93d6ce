package upstream

// tenant is the prober's state of one namespace: its queues. It is guarded by the
// prober's mu.
type tenant struct {
	name  string
	lines [lineCount]queue
	turns int // counts turns, for the queues that are not first
}

// queue is one queue of a namespace, in which its jobs take turns. Within a job it is
// first in, first out.
type queue struct {
	turns []string // jobs
	jobs  map[string]*fifo
}

// add puts e at the end of its job's queue.
func (q *queue) add(e *Endpoint, ticket uint64) {
	job := q.jobs[e.target.Job]
	if job == nil {
		if q.jobs == nil {
			q.jobs = make(map[string]*fifo)
		}
		job = &fifo{}
		q.jobs[e.target.Job] = job
		q.turns = append(q.turns, e.target.Job)
	}
	job.places = append(job.places, place{e, ticket})
}

// first returns the endpoint whose turn it is, nil when there is none, or when all jobs
// have used up their rates: then spent is true.
func (q *queue) first() (e *Endpoint, spent bool) {
	for range len(q.turns) {
		name := q.turns[0]
		switch e = q.jobs[name].first(); {
		case e == nil:
			delete(q.jobs, name)
			q.turns = q.turns[1:]
		case e.rate.allows(e):
			return e, false
		default:
			q.turns, spent = append(q.turns[1:], name), true
		}
	}
	return nil, spent
}

// drop removes what first has returned: it is the next job's turn.
func (q *queue) drop() {
	q.jobs[q.turns[0]].drop()
	q.turns = append(q.turns[1:], q.turns[0])
}

// inTurn returns the queue that is tried as the i-th: the one that requests wait for
// first, then the others in their order, but each fourth time starting at another one.
func (t *tenant) inTurn(i rank) rank {
	const others = lineCount - due
	if i == wanted || t.turns%4 != 3 {
		return i
	}
	return due + (i-due+rank(t.turns/4)%others)%others
}

// empty reports whether all queues are empty.
func (t *tenant) empty() bool {
	for i := range t.lines {
		for _, job := range t.lines[i].jobs {
			if job.first() != nil {
				return false
			}
		}
	}
	return true
}
