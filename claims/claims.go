// Package claims answers: which service holds a claim that several make, on every node
// and after every restart?
//
// A node knows the age of a claim only from what it has seen: after the holder's
// redeploy a node that starts knows another age than the others. So the order of the
// claimants in a contest is recorded once, in one Nomad Variable that all nodes read
// before their first table and then watch. A Record is that variable, a Keeper
// maintains it, and Jobs asks whether a service without instances will come back.
//
// docs/decisions/0005-contested-claims-are-written-down.md has the reasons.
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

// Options are the options of a Keeper. Zero values mean the defaults given here.
type Options struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespace and Path name the variable. Path is required.
	Namespace, Path string
	// Watched says whether the services of a namespace are known here. Unknown ones are
	// left to other nodes. Nil means that all are known.
	Watched func(namespace string) bool
	// Linger is how long a service without instances keeps its claims, 60s.
	Linger time.Duration
	// Spread is the time over which nodes that see the same change spread their writes,
	// 4s: the first one writes, and the others see it.
	Spread time.Duration
	// StateDir is for the last record, for a start while Nomad is unreachable; empty
	// saves nothing.
	StateDir string
	// Refused is called when Nomad denies access to the record, once until access is
	// granted again. Nil means that nobody is told.
	Refused func(err error)
	Logger  *slog.Logger // nil discards
}

// View is what one node sees.
type View struct {
	Contests []router.Contest
	// Complete says that Nomad has reported everything that exists. Otherwise nothing
	// counts as gone.
	Complete bool
	// Agreed is the Number of the Agreed by which the claimants are ordered.
	Agreed uint64
}

// Agreed is passed to a router.Builder.
type Agreed struct {
	// Number is higher than in the Agreed before. It comes back in a View, so that the
	// Keeper does not take an order that has ended for a new one.
	Number uint64
	Order  router.Agreement
	// Trouble says why a contest that is not in Order will not be recorded; empty when
	// it soon will.
	Trouble string
}

// Status is the state of a Keeper.
type Status struct {
	// Recorded is the number of contests in the record, Unrecorded the number of
	// others, LeftOut how many of these because the record is full.
	Recorded, Unrecorded, LeftOut int
	// Writes counts attempts to write, Conflicts those in which another node was first.
	Writes, Conflicts uint64
	// Trouble is as in Agreed.
	Trouble string
}

// Keeper maintains the record. Run does the work; the other methods may be called at
// any time, concurrently.
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

// New makes a Keeper. It reads what an earlier run has saved, and sends nothing.
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

// See passes what is contested now.
func (k *Keeper) See(v View) { newest(k.views, v) }

// Agreed returns a channel with the newest Agreed.
func (k *Keeper) Agreed() <-chan Agreed { return k.agreed }

// Known is closed once the record has been read, or cannot be read: then Agreed has a
// value.
func (k *Keeper) Known() <-chan struct{} { return k.known }

// Status returns the state of the Keeper.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// newest puts v into a channel with one place, replacing the value in it. Only one
// goroutine may put.
func newest[T any](c chan T, v T) {
	select {
	case <-c:
	default:
	}
	c <- v
}

// Run reads the record, watches it, and writes it when necessary, until ctx ends, whose
// error it returns.
func (k *Keeper) Run(ctx context.Context) error {
	w := &work{Keeper: k, began: time.Now(), tokens: burst, filled: time.Now(), sightings: make(map[claimantIn]sighting), lost: make(router.Agreement), ended: make(map[string]uint64)}
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

// work is the state of Run. Only one goroutine uses it.
type work struct {
	*Keeper
	began  time.Time
	record Record
	view   View
	// sightings are of the claimants in the record.
	sightings map[claimantIn]sighting
	// lost are contests that are missing in the record although no node has ended them.
	// This node knows their order.
	lost router.Agreement
	// ended are contests that others have ended, until a View is ordered by an Agreed
	// of at least this Number.
	ended map[string]uint64
	// due fires when there is something to do; writeAt is when to write the record, if
	// that is still necessary then; zero for never.
	due     *time.Timer
	writeAt time.Time
	// confirmed says that the record was read from Nomad, and not only from disk
	confirmed bool
	// tokens are the writes that may be made at once; filled is when the last one was
	// added.
	tokens float64
	filled time.Time
	// The last errors; empty when there was none.
	readTrouble, writeTrouble string
	refused                   bool
	logged                    string // the last message logged
	told                      string // what Agreed was sent last
	number                    uint64 // the number of that
}

// reading is a record that was read, or why it could not be.
type reading struct {
	record Record
	err    error
}

// read applies what was read.
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

// trouble puts an error into a few words, and reports a refusal.
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
	return "nomad does not accept variable " + w.options.Path
}

// tell sends what is agreed when it has changed, and logs what is wrong when that has
// changed.
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
		w.options.Logger.Warn("contested claims are not recorded: after a restart this node may choose another holder than the others",
			"why", trouble, "contests", contested)
	}
	order := w.known(w.record)
	if state := trouble + "\n" + (Record{order: order}).id(); state != w.told {
		w.told = state
		w.number++
		newest(w.agreed, Agreed{w.number, order, trouble})
	}
}
