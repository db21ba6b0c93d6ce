package upstream

import (
	"context"
	"errors"
	"slices"
	"time"
)

// class says how a look in progress is counted.
type class uint8

const (
	usual  class = iota
	urgent       // requests wait for it: nothing may delay it
	slow         // it has taken a while
	ending       // it was told to end
	classCount
)

// job is the job of an endpoint.
type job struct{ namespace, name string }

func (e *Endpoint) job() job { return job{e.target.Namespace, e.target.Job} }

// look is one look in progress: a probe of an endpoint, or the use of another one's
// result.
type look struct {
	endpoint *Endpoint
	class    class
	recall   context.CancelCauseFunc
}

func (p *prober) look(ctx context.Context, l *look, do func(context.Context, *Endpoint) plan) {
	ctx, l.recall = context.WithCancelCause(ctx)
	defer l.recall(nil)
	slowing := time.AfterFunc(slowAfter, func() { p.slowed(l) })
	next := do(ctx, l.endpoint)
	l.endpoint.rate.end(l.endpoint)
	slowing.Stop()
	p.end(l, next)
}

// errRecalled says that a probe was ended, without a result, because others need its
// place.
var errRecalled = errors.New("the probe took long, and its place was needed by others")

// slowed makes room for another look in place of one that takes long. If there are too
// many slow ones, a look of a job with more than its share is ended: maybe this one.
func (p *prober) slowed(l *look) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.class >= slow {
		return
	}
	j := l.endpoint.job()
	if p.busy[slow] >= slowShare*p.most {
		last := l
		if overShare := p.long.overShare(j.namespace, j, 1, int64(slowShare*p.most)); overShare != nil {
			if from, ok := overShare(); ok {
				last = p.slow[from][len(p.slow[from])-1]
			}
		}
		p.recalled++
		last.recall(errRecalled)
		if last == l {
			return // it keeps its place until it ends
		}
		p.count(last, ending)
	}
	p.count(l, slow)
	p.wake()
}

// count moves a look to another class.
func (p *prober) count(l *look, as class) {
	j := l.endpoint.job()
	if l.class == slow {
		p.long.add(j.namespace, j, -1)
		i := slices.Index(p.slow[j], l)
		if p.slow[j] = slices.Delete(p.slow[j], i, i+1); len(p.slow[j]) == 0 {
			delete(p.slow, j)
		}
	}
	p.busy[l.class]--
	if l.class = as; as == classCount {
		return
	}
	p.busy[as]++
	if as == slow {
		p.long.add(j.namespace, j, 1)
		p.slow[j] = append(p.slow[j], l)
	}
}

// end ends a look.
func (p *prober) end(l *look, next plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count(l, classCount) // if slowed is called after this, it finds nothing to do
	p.wake()
	e, now := l.endpoint, time.Now()
	s := &e.schedule
	again := s.again
	s.again = false
	repeat := next.line > due
	switch {
	case again:
		p.enqueue(e, due, false)
	case next.line == nowhere:
		s.turn = resting
	case repeat && now.Before(s.wanted):
		s.earliest = now.Add(min(next.after, startPause))
		p.wait(e, min(next.after, startPause), wanted, true)
	default:
		s.earliest = now.Add(min(next.after, startPause))
		p.wait(e, next.after, next.line, repeat)
	}
}
