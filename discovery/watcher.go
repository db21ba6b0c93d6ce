package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/nomad"
)

// WatcherOptions are the options of a Watcher. Zero values mean the defaults given
// here.
type WatcherOptions struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespaces are the watched ones; nil means all.
	Namespaces *Namespaces
	// Home is the namespace in which serai itself runs, "default": a workload identity
	// may read it without any policy.
	Home string
	// Prefix is the prefix of our tags, "ingress".
	Prefix string
	// Initial is served until Nomad has answered, nil for nothing.
	Initial *Snapshot
	// Resync is how often everything is checked again although nothing broke, 10m. Each
	// pause varies by up to a fifth.
	Resync time.Duration
	// Retry is how often a refused event stream is requested again, 3s. Each pause
	// varies by up to a fifth. Meanwhile lists are followed.
	Retry time.Duration
	// Store bounds what is kept, of several Watchers together; nil for no limit.
	Store *Store
	// Logger may be nil.
	Logger *slog.Logger
}

// Watcher is the Source for Nomad.
//
// It subscribes to the event stream, then lists the services, then reads those with our
// tags, and applies the events that are newer than what it read. From then on events
// report every change. When the stream breaks it goes on serving what it knows and
// subscribes again; unless it can prove that nothing was missed, it reads everything
// again, slowly. If the stream is refused, it follows lists with blocking queries
// instead.
type Watcher struct {
	options WatcherOptions
	scope   string

	mu     sync.Mutex
	status Status
}

// NewWatchers makes one Watcher for each scope of the namespaces.
func NewWatchers(o WatcherOptions) ([]*Watcher, error) {
	if o.Client == nil {
		return nil, errors.New("nomad source: the client is missing")
	}
	if o.Namespaces == nil {
		o.Namespaces, _ = ParseNamespaces(nil)
	}
	o.Home = cmp.Or(o.Home, nomad.DefaultNamespace)
	o.Prefix = cmp.Or(o.Prefix, "ingress")
	o.Store = cmp.Or(o.Store, NewStore(Bounds{}))
	o.Resync = cmp.Or(o.Resync, 10*time.Minute)
	o.Retry = cmp.Or(o.Retry, 3*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	scopes := o.Namespaces.Scopes()
	if len(scopes) == 0 {
		return nil, fmt.Errorf("nomad source: the namespaces %s leave none to watch", o.Namespaces)
	}
	var all []*Watcher
	for _, scope := range scopes {
		w := &Watcher{options: o, scope: scope}
		w.options.Initial = only(o.Initial, scope)
		w.status = Status{Source: "nomad " + scope, Phase: Starting, Since: time.Now()}
		all = append(all, w)
	}
	return all, nil
}

// only returns the part of a snapshot that belongs to a scope.
func only(s *Snapshot, scope string) *Snapshot {
	if s == nil || scope == nomad.AllNamespaces {
		return s
	}
	part := *s
	part.Services = make(map[Key]*Service)
	for key, service := range s.Services {
		if key.Namespace == scope {
			part.Services[key] = service
		}
	}
	return &part
}

// Status returns the state of the source.
func (w *Watcher) Status() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []Status{w.status}
}

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context, out chan<- *Snapshot) error {
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	box := newMailbox()
	running.Go(func() { box.run(ctx, out) })
	k := &knowledge{view: newView(w.options.Prefix, w.options.Initial, w.options.Store), box: box, missed: make(map[string]bool)}
	if i := w.options.Initial; i != nil {
		k.origin, k.read, k.any = OriginCache, i.Read, true
		i = k.cached(i)
		w.set(func(s *Status) {
			s.Phase, s.Since, s.Index = Cached, i.Read, i.Index
			s.count(i.Services)
		})
		box.put(i)
	}
	var pause backoff
	var given *opening
	for {
		s := &session{Watcher: w, knowledge: k, pause: &pause, run: &running}
		var err error
		given, err = s.watch(ctx, given)
		if ctx.Err() != nil {
			return ctx.Err() // whose end has closed given
		}
		if err == nil {
			continue
		}
		w.lost(err)
		if err := sleep.For(ctx, pause.next(err)); err != nil {
			return err
		}
	}
}

// knowledge is what outlives a session.
type knowledge struct {
	*view
	box *mailbox
	// origin and read belong to what is known. any says that it is worth sending.
	origin Origin
	read   time.Time
	any    bool
	mark   mark
	// polled is the index as of which a scope is known that was listed without a
	// stream; forbidden are the namespaces that may not be read, by name.
	polled    map[string]uint64
	forbidden []Forbidden
	// missed are the namespaces of which events were left out while something was read, and
	// which have not been read since; losses is how many scans in a row left some out.
	missed map[string]bool
	losses int
	// unavailable counts streams in a row that an agent failed to open, short those that ended
	// before everything was read.
	unavailable, short int
}

func (w *Watcher) set(change func(*Status)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.status)
}

// lost notes that Nomad cannot be followed any more. Only the first time is logged.
func (w *Watcher) lost(err error) {
	now := time.Now()
	known := false
	w.set(func(s *Status) {
		known = alike(s.Problem, err.Error())
		s.Problem = err.Error()
		s.Away = s.Phase == Starting
		s.Breaks++
		switch s.Phase {
		case Live, Polling:
			s.Phase, s.Since = Stale, now
			if s.Heard.After(s.Read) {
				s.Since = s.Heard
			}
		}
	})
	if !known {
		history.Tell(w.options.Logger, slog.LevelWarn, history.SourceLost, "services cannot be read from nomad; the last known ones stay in use", "source", "nomad "+w.scope, "error", err)
	}
}

// alike reports whether two problems are the same but for numbers, such as the port that a
// connection came from: then it is told once.
func alike(a, b string) bool {
	digit := func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}
	return strings.Map(digit, a) == strings.Map(digit, b)
}

// trouble notes a problem although changes are received. Only the first time is logged.
func (w *Watcher) trouble(message string, err error) {
	known := false
	w.set(func(s *Status) {
		known = alike(s.Problem, err.Error())
		s.Problem = err.Error()
	})
	if !known {
		w.options.Logger.Warn(message, "source", "nomad "+w.scope, "error", err)
	}
}

// up notes that changes are received again.
func (w *Watcher) up(phase Phase, services map[Key]*Service, problem error) {
	var was Phase
	var since time.Time
	w.set(func(s *Status) {
		was, since = s.Phase, s.Since
		if s.Phase != phase {
			s.Phase, s.Since = phase, time.Now()
		}
		s.Problem, s.Away = "", false
		if problem != nil {
			s.Problem = problem.Error()
		}
		s.Read = time.Now()
		s.count(services)
	})
	if was != phase {
		history.Tell(w.options.Logger, slog.LevelInfo, history.SourceBack, "services from nomad are up to date", "source", "nomad "+w.scope, "phase", string(phase), "was", string(was), "for", time.Since(since).Round(time.Millisecond), "services", len(services))
	}
}

// matches reports whether a namespace is one of this watcher's.
func (w *Watcher) matches(namespace string) bool {
	return w.options.Namespaces.Match(namespace) && (w.scope == nomad.AllNamespaces || w.scope == namespace)
}

// refused reports whether an event stream was refused, rather than broken.
func refused(err error) bool {
	return errors.Is(err, nomad.ErrForbidden) || errors.Is(err, nomad.ErrStreamRefused) || errors.Is(err, nomad.ErrStreamSilent)
}
