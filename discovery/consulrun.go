package discovery

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"serai/consul"
	"serai/internal/sleep"
)

// consulRun is what Run of a Consul source knows. Only its loop uses it: each request is
// made by a goroutine of its own, which sends what is to be done with the answer.
type consulRun struct {
	*Consul
	*view
	box     *mailbox
	ctx     context.Context
	running *sync.WaitGroup
	results chan result

	// asks are the requests under way, which end has given up.
	asks context.Context
	end  context.CancelFunc

	followed     map[string]*followed
	sidecars     map[*followed]bool // those that stand for another service
	queue        []*followed        // to be read
	all          []*followed        // to be read besides, at a rate, since something has changed somewhere
	deploys      []*followed        // those of them that come before their turn
	turn         int                // counts what is read of queue and all
	turnOfDeploy bool               // the next one of all is one of deploys
	pace         *rate.Limiter      // of that
	paused       bool               // until the rate permits another one
	reading      int                // being read
	large        chan struct{}      // holds one, while a service is read with more than usualAnswer
	watching     int                // services that have a query of their own
	spent        int                // queries of these
	listed       int                // services in the catalog, by its size, also those of others
	catalog      uint64             // the index of the list of services, 0 before it has been read
	relisted     bool               // that list was read since a hold began
	doubted      bool               // that index went back, which may be a leader that has not read its log
	denies       bool               // as that list said: see consul.Meta
	pause        backoff            // of that list

	// turns are how often that list, and those of checks, may be asked for, by their names.
	turns map[string]*rate.Limiter
	// sharedTurns are how often services are waited for, all together.
	sharedTurns *rate.Limiter

	// troubles are what cannot be followed, by what is asked: the name of a service, or one
	// of those below, which are no names.
	troubles map[string]error
	// missed says that the agent has been away, and may have begun anew.
	missed bool
	// complete says that everything has been read; unread is how many services have not.
	complete bool
	unread   int
	read     time.Time

	// held is until when nothing is removed, zero while the index has not gone back; wentBack
	// tells that. hidden are services of which the token may not read all.
	held     time.Time
	wentBack string
	hidden   map[string]bool

	// sampling are the states whose checks are followed, samples the last lists of them.
	sampling map[string]bool
	samples  map[string]map[spot]bool
	fetching bool // what had no room is soon read again
}

func (c *Consul) newRun(ctx context.Context, running *sync.WaitGroup) *consulRun {
	return &consulRun{
		Consul: c, view: newView(c.options.Prefix, c.options.Initial, c.options.Store), box: newMailbox(),
		ctx: ctx, running: running, results: make(chan result), large: make(chan struct{}, 1), pace: rate.NewLimiter(allRate, allAtOnce),
		followed: make(map[string]*followed), sidecars: make(map[*followed]bool), troubles: make(map[string]error),
		turns:       map[string]*rate.Limiter{theCatalog: newTurns(), consul.Critical: newTurns(), consul.Warning: newTurns()},
		sharedTurns: newSharedTurns(c.options.Watches),
		sampling:    make(map[string]bool), samples: make(map[string]map[spot]bool), hidden: make(map[string]bool),
	}
}

// What is asked besides services.
const (
	theAgent   = "the agent"
	theCatalog = "the catalog"
)

// result is what is to be done after a request of a context.
type result struct {
	ctx  context.Context
	then func()
}

// followed is one service that carries our tags, or did.
type followed struct {
	name string
	key  Key
	// listed says that the catalog's list has it with our tags.
	listed bool
	// known says that it has been read, or cannot be.
	known bool
	// standsFor is the service whose sidecars it is, empty when it is none of that kind; alone
	// says that they are the only way to it.
	standsFor string
	alone     bool
	// yields says that it stays as it is known until its sidecars have been read, which are awaited.
	yields, awaited bool
	// watched says that it has a query of its own, or two: queries. Asking says that a request is under way,
	// which stop ends; reading that this is none that waits; again that something may have
	// changed since it began.
	watched, asking, reading, again bool
	queries                         int
	stop                            context.CancelFunc
	// queued says that it is in the queue, later that it is to be read after that, inAll that it has
	// a place among all these, and surely that only the leader is to be believed.
	queued, later, inAll, surely bool
	// moved is when its instances came or went last, zero for never since it is known.
	moved time.Time
	// held says that its instances may have been registered before the index went back, and
	// that the time for which they stay is over.
	held  bool
	pause backoff
	// slow is the pause after a wait that has told nothing newer, also where the leader has been
	// asked since.
	slow time.Duration
	// turns are how often it is waited for, nil before it is.
	turns *rate.Limiter
	// index and indexOfSidecars are those of the last answers that were believed.
	index, indexOfSidecars uint64
}

// do makes a request after a pause, unless all are given up first.
func (r *consulRun) do(ctx context.Context, after time.Duration, request func(ctx context.Context) (then func())) {
	r.running.Go(func() {
		if after > 0 && sleep.For(ctx, after) != nil {
			return
		}
		then := request(ctx)
		select {
		case r.results <- result{ctx, then}:
		case <-ctx.Done():
		}
	})
}

// begin asks for everything: what was served before is known, and what the catalog lists.
func (r *consulRun) begin() {
	r.asks, r.end = context.WithCancel(r.ctx)
	if i := r.options.Initial; i != nil {
		r.read = i.Read
		i = r.cached(i)
		r.set(func(s *Status) {
			s.Phase, s.Since = Cached, i.Read
			s.count(i.Services)
		})
		r.box.put(i)
	}
	for key, s := range r.services {
		r.follow(key.Name)
		r.followed[key.Name].alone = slices.ContainsFunc(s.Instances, func(i *Instance) bool { return i.Sidecar != nil && i.Sidecar.Only && i.Sidecar.ID != "" })
	}
	r.askCatalog(0, 0)
	r.ping(r.options.Ping)
}

// askCatalog asks for the list of services once it is beyond an index.
func (r *consulRun) askCatalog(index uint64, after time.Duration) {
	q := consul.Query{Index: index, Wait: r.wait(r.listed, forEachListed), Consistent: index == 0 && r.doubted}
	r.do(r.asks, after, func(ctx context.Context) func() {
		began := time.Now()
		ours, full := make(map[string]bool), r.options.Store.rows()
		meta, err := r.options.Client.EachService(ctx, q, func(name string, tags []string, cut bool) {
			if cut || carries(tags, r.prefix) {
				_, ours[name] = full.take(ConsulNamespace, size{1, rowBytes + len(name)})
			}
		})
		return func() {
			if err != nil {
				r.trouble(theCatalog, err)
				r.askCatalog(0, r.pause.next(err))
				return
			}
			r.pause.reset()
			r.well(theCatalog)
			r.doubted = !q.Consistent && meta.Index < r.catalog
			if r.doubted {
				r.askCatalog(0, pace(meta.Index, &meta, began))
				return
			}
			r.list(ours, meta)
			r.askCatalog(meta.Index, max(pace(index, &meta, began), r.turns[theCatalog].Reserve().Delay()))
		}
	})
}

// list applies the list of services, of which those are ours that carry our tags, as many as
// are kept: it says which are to be followed, and never that one is gone.
func (r *consulRun) list(ours map[string]bool, meta consul.Meta) {
	if r.catalog > meta.Index {
		r.hold(meta.Index, r.catalog)
	}
	r.relisted = true
	changed := r.catalog != meta.Index
	r.listed = int(meta.Size / bytesListed)
	r.catalog, r.denies = meta.Index, meta.Denies
	for name, room := range ours {
		if room {
			r.follow(name)
		}
	}
	for name, f := range r.followed {
		was := f.listed
		f.listed = ours[name]
		switch {
		case was != f.listed && f.watched && (was || r.hidden[name]):
			r.readSurely(f) // an agent may wait on, and know of a service what it may not tell us any more
		case changed && f.known && !f.watched:
			r.lookAgain(f)
		}
		r.leave(f)
	}
	r.lookAgainAtDeploys()
	r.settleAlone()
	r.set(func(s *Status) { s.Index, s.Heard, s.Scans = meta.Index, time.Now(), s.Scans+1 })
	r.settle()
}

// follow begins to follow a service.
func (r *consulRun) follow(name string) {
	if r.followed[name] != nil {
		return
	}
	f := &followed{name: name, key: Key{ConsulNamespace, name}, listed: true}
	r.followed[name] = f
	r.unread++
	r.enqueue(f, false)
}

// giveUp ends the request about a service that is under way.
func (r *consulRun) giveUp(f *followed) {
	if !f.asking {
		return
	}
	f.stop()
	if f.reading {
		r.reading--
	}
	f.asking, f.reading, f.again = false, false, false
}
