package upstream

// tenant is what the prober keeps of one namespace: who of it stands in which line.
// It is guarded by the prober's mu.
type tenant struct {
	name  string
	lines [lineCount]queue
	turns int // of the lines that are not first
}

// queue is one line of a namespace, in which its jobs take turns. Within a job who
// came first is first.
type queue struct {
	turns []string // jobs
	jobs  map[string]*fifo
}

// add puts e at the end of its job's line.
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

// first returns whose turn it is, nil when there is nobody, or when the jobs of all
// have used up their rates: that is what spent says.
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

// drop takes out whom first has returned: the next job's turn has come.
func (q *queue) drop() {
	q.jobs[q.turns[0]].drop()
	q.turns = append(q.turns[1:], q.turns[0])
}

// inTurn returns the line that is asked as the i-th: those that requests wait for
// first, and the others in their order, but each fourth time from another one on.
func (t *tenant) inTurn(i rank) rank {
	const others = lineCount - due
	if i == wanted || t.turns%4 != 3 {
		return i
	}
	return due + (i-due+rank(t.turns/4)%others)%others
}

// empty reports whether nobody stands in a line.
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
