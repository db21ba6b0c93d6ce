package discovery

import (
	"context"
	"errors"
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

// drain reads what is in the queue, some at a time, while the agent answers.
func (r *consulRun) drain() {
	for len(r.queue) > 0 && r.reading < maxReads && r.troubles[theAgent] == nil && !errors.Is(r.troubles[theCatalog], consul.ErrUnreachable) {
		f := r.queue[0]
		r.queue = r.queue[1:]
		f.queued, f.reading = false, true
		r.reading++
		r.ask(f, consul.Query{Stale: !f.surely}, 0)
	}
}

// ask asks for a service.
func (r *consulRun) ask(f *followed, q consul.Query, after time.Duration) {
	ctx, stop := context.WithCancel(r.asks)
	f.asking, f.stop = true, stop
	surely, denies := !q.Stale, r.denies
	r.do(ctx, after, func(ctx context.Context) func() {
		began := time.Now()
		entries, meta, err := r.lookUp(ctx, f.name, q, denies)
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
			f.index, f.surely = meta.Index, false
			r.apply(f, r.options.instances(entries), &meta, surely, received)
			r.nowKnown(f)
			if again {
				r.enqueue(f, true)
			}
			r.next(f, pace(q.Index, &meta, began))
		}
	})
}

// next waits for the next change of a service, unless it is to be read at once, or has no
// query of its own.
func (r *consulRun) next(f *followed, after time.Duration) {
	r.leave(f)
	switch {
	case r.followed[f.name] != f || f.queued:
		return
	case !f.watched && r.watching < r.options.Watches:
		f.watched = true
		r.watching++
	case !f.watched:
		r.sample()
		return
	}
	r.ask(f, consul.Query{Index: f.index, Wait: around(r.options.Wait), Stale: true}, after)
}

// triesAtStart is how often a service is asked for in vain until the start of all others does
// not wait for it.
const triesAtStart = 8

// failed notes that a service cannot be read, and has it read again after a while.
func (r *consulRun) failed(f *followed, err error) {
	r.trouble(f.name, err)
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
