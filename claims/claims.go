// Package claims answers: who holds what several services claim, on every node
// and after every restart?
//
// The age of a claim is what a node has seen of it: after the holder's redeploy
// a node that starts knows another age than the others. So a contest is written
// down once, as an order of claimants, in one Variable of Nomad that all nodes
// read before their first table and then wait on. A Record is that variable, a
// Keeper keeps it, and Jobs asks whether who is gone comes back.
//
// docs/decisions/0005-contested-claims-are-written-down.md tells why it is so.
package claims

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"serai/nomad"
	"serai/router"
)

// Options is what a Keeper needs. Zero values mean the defaults named.
type Options struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespace and Path name the variable. Path is required.
	Namespace, Path string
	// Watched says whether the services of a namespace are known here. What is
	// not known is left to others. Nil knows all.
	Watched func(namespace string) bool
	// Linger is how long a service that has no instance keeps its claims, 60s.
	Linger time.Duration
	// Spread is over what time nodes that see the same change spread their
	// writes, 4s: the first one writes, and the others see it.
	Spread time.Duration
	// StateDir keeps what was read last, for a start while Nomad is away; empty
	// keeps nothing.
	StateDir string
	// Refused is called when Nomad refuses to let the record be read or
	// written, once until it lets it. Nil means nobody listens.
	Refused func(err error)
	Logger  *slog.Logger // nil discards
}

// View is what one node sees.
type View struct {
	Contests []router.Contest
	// Complete says that Nomad has told all that exists. Else nothing is taken
	// for gone.
	Complete bool
	// Agreed is the Number of the Agreed that the claimants are ordered by.
	Agreed uint64
}

// Agreed is what goes to a router.Builder.
type Agreed struct {
	// Number is higher than that of the one before. It comes back in a View, so
	// that an order which has ended is not taken from there for a new one.
	Number uint64
	Order  router.Agreement
	// Trouble says why a contest that is not in Order will not be written down;
	// empty when it soon will.
	Trouble string
}

// Status is how a Keeper is.
type Status struct {
	// Recorded is how many contests are in the record, Unrecorded how many are
	// not, LeftOut how many of these because it has no room for them.
	Recorded, Unrecorded, LeftOut int
	// Writes counts those that were tried, Conflicts those that another node
	// came before.
	Writes, Conflicts uint64
	// Trouble is as in Agreed.
	Trouble string
}

// Keeper keeps the record. Run does the work; the other methods may be called
// at any time by anyone.
type Keeper struct {
	options Options
	views   chan View   // the newest one
	agreed  chan Agreed // the newest one
	known   chan struct{}
	know    func()
	// written is the version that this node wrote last.
	written atomic.Uint64

	mu     sync.Mutex
	status Status
}

// New makes a Keeper. It reads what is kept of an earlier run, and sends
// nothing.
func New(o Options) (*Keeper, error) {
	switch {
	case o.Client == nil:
		return nil, errors.New("claims: the client is missing")
	case o.Path == "":
		return nil, errors.New("claims: the path of the variable is missing")
	}
	if o.Linger == 0 {
		o.Linger = time.Minute
	}
	if o.Spread == 0 {
		o.Spread = 4 * time.Second
	}
	if o.Watched == nil {
		o.Watched = func(string) bool { return true }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{options: o, views: make(chan View, 1), agreed: make(chan Agreed, 1), known: make(chan struct{})}
	k.know = sync.OnceFunc(func() { close(k.known) })
	return k, nil
}

// See tells what is contested now.
func (k *Keeper) See(v View) { newest(k.views, v) }

// Agreed has what to order claims by, the newest.
func (k *Keeper) Agreed() <-chan Agreed { return k.agreed }

// Known is closed once the record has been read, or cannot be: then Agreed has
// something.
func (k *Keeper) Known() <-chan struct{} { return k.known }

// Status returns how it is.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// newest puts v into a channel that holds one, in the place of what is there.
// Only one goroutine may put.
func newest[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// Run reads the record, waits on it, and writes what is to be written, until
// ctx ends, whose error it returns.
func (k *Keeper) Run(ctx context.Context) error {
	w := &work{Keeper: k, began: time.Now(), tokens: burst, filled: time.Now(), gone: make(map[string]absence), lost: make(router.Agreement), ended: make(map[string]uint64)}
	w.record = w.cached()
	records := make(chan reading)
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { w.watch(ctx, records) })
	w.due = time.NewTimer(time.Hour)
	defer w.due.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-records:
			w.read(r)
		case w.view = <-k.views:
		case <-w.due.C:
			if !w.writeAt.IsZero() && !time.Now().Before(w.writeAt) {
				w.writeAt = time.Time{}
				w.write(ctx)
			}
		}
		w.schedule()
	}
}

// work is a Keeper that runs. One goroutine uses it.
type work struct {
	*Keeper
	began  time.Time
	record Record
	view   View
	// gone is what is in the record and not seen here.
	gone map[string]absence
	// lost are contests that are missing in the record though nobody has ended
	// them. This node knows their order.
	lost router.Agreement
	// ended are contests that others have ended, until a View is ordered by an
	// Agreed of at least this Number.
	ended map[string]uint64
	// due fires when there is something to look at; writeAt is when the record
	// is to be written, if that is still needed then, zero when it is not.
	due     *time.Timer
	writeAt time.Time
	// confirmed says that the record was read, and is not only what was kept.
	confirmed bool
	// tokens are the writes that may be made at once; filled is when the last
	// one was added.
	tokens float64
	filled time.Time
	// What went wrong last; empty when nothing did.
	readTrouble, writeTrouble string
	refused                   bool
	logged                    string // what was logged last
	told                      string // what Agreed has had last
	number                    uint64 // of that
}

// reading is an answer, or why there is none.
type reading struct {
	record Record
	err    error
}

// read takes in what was read.
func (w *work) read(r reading) {
	if r.err != nil {
		w.readTrouble = w.trouble(r.err)
	} else {
		w.readTrouble, w.confirmed = "", true
		w.take(r.record)
	}
	w.tell()
	w.know()
}

// trouble puts an error into a few words, and tells of a refusal.
func (w *work) trouble(err error) string {
	switch {
	case errors.Is(err, nomad.ErrForbidden), errors.Is(err, nomad.ErrTokenRefused):
		if !w.refused && w.options.Refused != nil {
			w.options.Refused(err)
		}
		w.refused = true
		return fmt.Sprintf("no right to read and write variable %s", w.options.Path)
	case errors.Is(err, nomad.ErrUnreachable), errors.Is(err, nomad.ErrUnavailable):
		return "nomad is away"
	}
	return "nomad does not take variable " + w.options.Path
}

// tell hands out what is agreed when it has changed, and logs what is wrong
// when that has.
func (w *work) tell() {
	trouble := w.readTrouble
	if trouble == "" {
		trouble = w.writeTrouble
	}
	if trouble == "" {
		w.refused = false
		if w.status.LeftOut > 0 {
			trouble = "the record is full"
		}
	}
	w.mu.Lock()
	w.status.Trouble = trouble
	contested := w.status.Unrecorded
	w.mu.Unlock()
	if trouble == "" {
		w.logged = ""
	} else if trouble != w.logged && contested > 0 {
		w.logged = trouble
		w.options.Logger.Warn("what several services claim is not recorded: after a restart this node may give it to another than the others do",
			"why", trouble, "contests", contested)
	}
	order := w.known(w.record)
	if state := trouble + "\n" + (Record{order: order}).id(); state != w.told {
		w.told = state
		w.number++
		newest(w.agreed, Agreed{w.number, order, trouble})
	}
}
