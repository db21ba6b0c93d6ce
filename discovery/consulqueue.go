package discovery

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"serai/consul"
)

// maxReads is how many services are read at once.
const maxReads = 16

// enqueue has a service read; surely, as the leader knows it.
func (r *consulRun) enqueue(f *followed, surely bool) {
	f.surely = f.surely || surely
	switch {
	case f.asking:
		f.again = true
	case !f.queued:
		f.queued = true
		r.queue = append(r.queue, f)
	}
}

// readSurely has a service read, as the leader knows it, that may be waiting for another change.
func (r *consulRun) readSurely(f *followed) {
	if !f.reading {
		r.giveUp(f)
	}
	r.enqueue(f, true)
}

// drain reads what is in the queue, some at a time, while the agent answers, and what is to be
// looked at again.
func (r *consulRun) drain() {
	for r.reading < maxReads && r.troubles[theAgent] == nil && !errors.Is(r.troubles[theCatalog], consul.ErrUnreachable) {
		f := r.nextToRead()
		if f == nil {
			return
		}
		f.queued, f.later, f.reading = false, false, true
		r.reading++
		r.ask(f, nil, consul.Query{Stale: !f.surely, Consistent: f.surely}, 0)
	}
}

// inTurn is how many services are read that are known to have changed until one has its turn that
// may have.
const inTurn = 4

// nextToRead is the next service that is to be read, nil for none, or none yet.
func (r *consulRun) nextToRead() (f *followed) {
	if r.turn++; len(r.queue) == 0 || r.turn%inTurn == 0 {
		f = r.nextOfAll()
	}
	if f == nil && len(r.queue) > 0 {
		f, r.queue = r.queue[0], r.queue[1:]
	}
	return f
}

// ask asks for a service; after last, once what is listed of it is not as that any more.
func (r *consulRun) ask(f *followed, last *consulListing, q consul.Query, after time.Duration) {
	ctx, stop := context.WithCancel(r.asks)
	f.asking, f.stop = true, stop
	surely, denies, holds, known := !q.Stale, r.denies, r.holding(), r.services[f.key]
	r.do(ctx, after, func(ctx context.Context) func() {
		began := time.Now()
		reading := &consulReading{consulRun: r, ctx: ctx, name: f.name, denies: denies, holds: holds, known: known}
		var now consulListing
		var err error
		if last == nil {
			now, err = reading.now(q)
		} else {
			now, err = reading.next(last, q)
		}
		received := time.Now()
		return func() {
			again := f.again
			r.giveUp(f) // it has ended
			if err != nil {
				r.failed(f, err)
				return
			}
			f.pause.reset()
			r.well(f.name)
			f.surely = false
			pause := now.pause(last, began)
			if last != nil {
				f.turns = cmp.Or(f.turns, newTurns())
				pause = max(pause, f.turns.Reserve().Delay(), r.sharedTurns.Reserve().Delay())
				f.slow = pause
			}
			if !surely && f.behind(&now) {
				// A server that has not read its log yet lists what has gone. Or Consul
				// was restored: then the leader says so.
				r.enqueue(f, true)
				return
			}
			r.believe(f, &now, surely, received)
			if again {
				r.enqueue(f, true)
			}
			if last == nil {
				pause, f.slow = max(pause, f.slow), 0
			}
			now.entries, now.sidecars = nil, nil
			r.next(f, now, pause)
		}
	})
}

// believe has what is listed of a service known.
func (r *consulRun) believe(f *followed, l *consulListing, surely bool, received time.Time) {
	f.index = l.meta.Index
	if l.meshed {
		f.indexOfSidecars = l.ofSidecars.Index
	}
	r.stand(f, standsFor(l.entries))
	r.apply(f, l, surely, received)
	r.arrived(f)
	r.nowKnown(f)
}

// behind reports whether one of the lists is older than the one that was believed last.
func (f *followed) behind(l *consulListing) bool {
	return l.meta.Index < f.index || l.meshed && l.ofSidecars.Index < f.indexOfSidecars
}

// next waits for the next change of a service, unless it is to be read at once, or has no
// query of its own.
func (r *consulRun) next(f *followed, now consulListing, after time.Duration) {
	r.leave(f)
	if r.followed[f.name] != f || f.queued {
		return
	}
	if !r.watch(f, now.meshed) {
		r.sample()
		return
	}
	r.ask(f, &now, consul.Query{Wait: r.wait(r.spent, forEachQuery), Stale: true}, after)
}

// watch takes the queries with which a service is waited for: two where its sidecars are as
// well. It reports whether there are so many.
func (r *consulRun) watch(f *followed, meshed bool) bool {
	need := 1
	if meshed {
		need = 2
	}
	r.unwatch(f)
	if r.spent+need > r.options.Watches {
		return false
	}
	f.watched, f.queries = true, need
	r.watching++
	r.spent += need
	return true
}

// unwatch gives them back.
func (r *consulRun) unwatch(f *followed) {
	if f.watched {
		r.watching--
		r.spent -= f.queries
	}
	f.watched, f.queries = false, 0
}

// leave ends following a service that is neither listed nor known.
func (r *consulRun) leave(f *followed) {
	if f.listed || !f.known || r.services[f.key] != nil {
		return
	}
	delete(r.followed, f.name)
	delete(r.sidecars, f)
	delete(r.hidden, f.name)
	r.arrived(f)
	r.well(f.name)
	r.queue = slices.DeleteFunc(r.queue, func(o *followed) bool { return o == f })
	r.unwatch(f)
	r.giveUp(f)
}

// triesAtStart is how often a service is asked for in vain until the start of all others does
// not wait for it.
const triesAtStart = 8

// failed notes that a service cannot be read, and has it read again after a while.
func (r *consulRun) failed(f *followed, err error) {
	r.trouble(f.name, err)
	r.arrived(f)
	if errors.Is(err, consul.ErrTooLong) {
		r.refuse(f.key, &Refused{Instances: 1, Quota: unreadQuota})
	}
	pause := f.pause.next(err)
	if errors.Is(err, consul.ErrBadAnswer) || errors.Is(err, consul.ErrForbidden) || f.pause.failures >= triesAtStart {
		r.nowKnown(f)
	}
	r.do(r.asks, pause, func(context.Context) func() {
		return func() {
			if r.followed[f.name] == f {
				r.enqueue(f, f.surely)
			}
		}
	})
}

// nowKnown notes that a service has been read for the first time.
func (r *consulRun) nowKnown(f *followed) {
	if !f.known {
		f.known = true
		r.unread--
	}
	r.settle()
}
