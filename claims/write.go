package claims

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"serai/nomad"
)

// How often one node may write: a contest that somebody starts and ends all the time
// must not become load for Nomad's servers.
const (
	burst  = 10
	refill = 30 * time.Second
)

// schedule plans a write of the record if necessary. Nodes that have watched for long
// come first, because they know older states.
func (w *work) schedule() {
	next, changed, again := w.plan(w.record, w.view, time.Now())
	w.settle()
	w.mu.Lock()
	w.status.Recorded, w.status.LeftOut = len(w.record.order), next.leftOut
	w.status.Unrecorded = 0
	for _, c := range w.view.Contests {
		if len(c.Claimants) > 1 && w.record.order[c.Name] == nil {
			w.status.Unrecorded++
		}
	}
	w.mu.Unlock()
	switch {
	case !changed:
		w.writeAt, w.writeTrouble = time.Time{}, ""
	case w.writeAt.IsZero():
		w.writeAt = time.Now().Add(max(w.turn(w.restores(next)), w.untilToken()))
	}
	w.tell()
	if !w.writeAt.IsZero() {
		again = sooner(again, max(time.Until(w.writeAt), time.Microsecond))
	}
	if again > 0 {
		w.due.Reset(again)
	}
}

// manyNodes is the number of nodes for which turn is designed.
const manyNodes = 1000

// turn is how long this node waits, so that of many nodes which see the same change one
// writes and the others see it in time: late turns are likely, early ones are not, as
// in RFC 5401 for answers to a multicast.
//
// A node that knows an order that was lost comes long before nodes that do not, which
// would write what they see.
func (w *work) turn(lost bool) time.Duration {
	lambda := math.Log(manyNodes) + 1
	wait := time.Duration(float64(w.options.Spread) / lambda * math.Log(rand.Float64()*(math.Exp(lambda)-1)+1))
	switch {
	case lost:
		wait /= 4
	case time.Since(w.began) < 10*w.options.Spread:
		wait += w.options.Spread
	}
	if w.writeTrouble != "" {
		wait += 2 * w.options.Spread
	}
	return wait
}

// restores reports whether a plan has a contest that was lost.
func (w *work) restores(next Record) bool {
	for name := range w.lost {
		if next.order[name] != nil {
			return true
		}
	}
	return false
}

// untilToken is the time until a write may be made.
func (w *work) untilToken() time.Duration {
	now := time.Now()
	w.tokens = min(burst, w.tokens+float64(now.Sub(w.filled))/float64(refill))
	w.filled = now
	if w.tokens >= 1 {
		return 0
	}
	return time.Duration((1 - w.tokens) * float64(refill))
}

// write writes the record if that is still necessary: usually another node has done it.
func (w *work) write(ctx context.Context) {
	next, changed, _ := w.plan(w.record, w.view, time.Now())
	if !changed || !w.confirmed || w.readTrouble != "" || w.untilToken() > 0 {
		return
	}
	if fresh, _, err := w.options.Client.Variable(ctx, w.options.Path, nomad.Query{Namespace: w.options.Namespace, Stale: true}); err == nil && fresh.ModifyIndex > w.record.version {
		// Another node has written. Reading costs less than a conflicting write.
		w.take(recordOf(fresh))
		w.tell()
		if next, changed, _ = w.plan(w.record, w.view, time.Now()); !changed {
			return
		}
	}
	w.tokens--
	name := nomad.VariableMeta{Namespace: w.options.Namespace, Path: w.options.Path}
	written, err := w.options.Client.PutVariableIf(ctx, nomad.Variable{VariableMeta: name, Items: next.items()}, w.record.version)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	w.status.Writes++
	if errors.Is(err, nomad.ErrConflict) {
		w.status.Conflicts++
	}
	w.mu.Unlock()
	switch {
	case err == nil:
		w.writeTrouble = ""
		next.version = written.ModifyIndex
		w.written.Store(next.version)
		w.options.Logger.Info("contested claims recorded", "contests", len(next.order), "variable", name.Path)
		w.take(next)
	case errors.Is(err, nomad.ErrConflict):
		w.writeTrouble = ""
		if written != nil && len(written.Items) > 0 { // otherwise the watch will bring it
			w.take(decode(written.Items, written.ModifyIndex))
		}
	default:
		w.writeTrouble = w.trouble(err)
	}
	w.tell()
}
