package secret

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"serai/nomad"
)

// Use takes the content of a secret, which it owns from then on; nil when there is none. An
// error says why the content is of no use, without quoting it: then what was used before
// stays. A warning is for the log. It is called by one goroutine at a time, and must not
// wait for anything.
type Use func(content []byte) (warning string, err error)

// Secret is one item of a variable that somebody needs.
type Secret struct {
	// Path and Item say where it is, Owner for people whose it is.
	Path, Item, Owner string

	use Use
	// The rest belongs to the Store, and is guarded by its lock.
	given   []byte // what use has taken last; nil for none
	refused []byte // what use has not taken since then; nil for none
	refusal string // why not
	problem string // why given is not what the variable says now, empty when it is
	since   time.Time
}

// Status is the state of one Secret.
type Status struct {
	Path, Item, Owner string
	// Problem is why the secret is not known as it is now, empty when it is, and Since
	// when that began.
	Problem string
	Since   time.Time
	// Used says that a content that was read before is in use.
	Used bool
}

// Options say how a Store reads variables.
type Options struct {
	// Client talks to Nomad. Required.
	Client *nomad.Client
	// Namespace is that of all variables; empty means "default".
	Namespace string
	// Refused is called when Nomad forbids to read a variable, once until it lets it
	// be read. Nil means that nobody is told.
	Refused func(path string, err error)
	Logger  *slog.Logger // nil discards
}

// Store has the secrets that are needed. Run reads them; the other methods may be called at
// any time, concurrently.
type Store struct {
	changed chan struct{} // has an element when other variables are to be followed

	mu        sync.Mutex
	variables map[string]*variable // that are followed, by path
	asked     chan struct{}        // see Asked
	logger    *slog.Logger
}

// state is what is known of a variable.
type state uint8

const (
	unread  state = iota // nothing
	present              // its items
	gone                 // that it does not exist
)

// variable is one that is followed.
type variable struct {
	secrets []*Secret
	state   state
	items   map[string]string // while it is present
	// trouble is why the state may not be that of now; empty when it is.
	trouble string
}

// NewStore makes a Store that follows nothing.
func NewStore() *Store {
	s := &Store{changed: make(chan struct{}, 1), variables: make(map[string]*variable), asked: make(chan struct{}), logger: slog.New(slog.DiscardHandler)}
	close(s.asked)
	return s
}

// Secret makes the secret of an item, and has it used at once if its variable is known
// already. It is followed once Follow names it.
func (s *Store) Secret(path, item, owner string, use Use) *Secret {
	one := &Secret{Path: path, Item: item, Owner: owner, use: use}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.variables[path]; v != nil {
		s.give(v, one)
	}
	return one
}

// Follow has these secrets followed from now on, and no others.
func (s *Store) Follow(secrets []*Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[string]*variable)
	for _, one := range secrets {
		v := next[one.Path]
		if v == nil {
			if v = s.variables[one.Path]; v == nil {
				v = &variable{}
			}
			next[one.Path], v.secrets = v, nil
		}
		if !slices.Contains(v.secrets, one) {
			v.secrets = append(v.secrets, one)
		}
		s.give(v, one)
	}
	s.variables = next
	select {
	case <-s.asked:
		s.asked = make(chan struct{})
	default:
	}
	s.allAsked()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Asked returns a channel that is closed once Run has tried to read each variable that is
// followed now, with whatever success.
func (s *Store) Asked() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// allAsked reports whether that is so, and closes the channel then. s.mu is held.
func (s *Store) allAsked() bool {
	for _, v := range s.variables {
		if v.state == unread && v.trouble == "" {
			return false
		}
	}
	select {
	case <-s.asked:
	default:
		close(s.asked)
	}
	return true
}

// Status returns the state of all secrets, sorted.
func (s *Store) Status() (all []Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(s.variables)) {
		for _, one := range s.variables[path].secrets {
			all = append(all, one.status())
		}
	}
	return all
}

func (one *Secret) status() Status {
	return Status{one.Path, one.Item, one.Owner, one.problem, one.since, one.given != nil}
}

// Run follows the variables until ctx ends.
func (s *Store) Run(ctx context.Context, o Options) error {
	if o.Logger != nil {
		s.mu.Lock()
		s.logger = o.Logger
		s.mu.Unlock()
	}
	var followers sync.WaitGroup
	defer followers.Wait()
	running := make(map[string]context.CancelFunc)
	for {
		for path, follow := range s.difference(running) {
			if !follow {
				running[path]()
				delete(running, path)
				continue
			}
			one, stop := context.WithCancel(ctx)
			running[path] = stop
			followers.Go(func() { (&follower{Store: s, options: o, path: path}).run(one) })
		}
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return ctx.Err()
		case <-s.changed:
		}
	}
}

// difference returns the paths whose followers are to be started, and those to be stopped.
func (s *Store) difference(running map[string]context.CancelFunc) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	start := make(map[string]bool)
	for path := range running {
		if s.variables[path] == nil {
			start[path] = false
		}
	}
	for path := range s.variables {
		if running[path] == nil {
			start[path] = true
		}
	}
	return start
}

// note records what a variable is, or why that is not known, unless nobody follows it any
// more.
func (s *Store) note(ctx context.Context, path string, change func(v *variable)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.variables[path]
	if v == nil || ctx.Err() != nil {
		return
	}
	change(v)
	for _, one := range v.secrets {
		s.give(v, one)
	}
	s.allAsked()
}

// give has a secret used as its variable says. s.mu is held.
func (s *Store) give(v *variable, one *Secret) {
	problem := ""
	switch text, there := v.items[one.Item]; {
	case v.state == unread:
		problem = "nomad has not answered yet"
	case v.state == gone:
		one.lose()
		problem = fmt.Sprintf("nomad has no variable %q: write it with `nomad var put`", one.Path)
	case !there:
		one.lose()
		problem = fmt.Sprintf("variable %q has no item %q: add it with `nomad var put`", one.Path, one.Item)
	default:
		problem = s.offer(one, []byte(text))
	}
	if v.trouble != "" {
		problem = v.trouble
	}
	switch {
	case problem == one.problem:
		return
	case problem == "":
		s.logger.Info("a secret was read and is in use", "path", one.Path, "item", one.Item, "for", one.Owner)
	case v.state != unread || v.trouble != "":
		s.logger.Warn("a secret cannot be read or used", "path", one.Path, "item", one.Item, "for", one.Owner, "used", one.given != nil, "problem", problem)
	}
	if one.problem == "" {
		one.since = time.Now()
	} else if problem == "" {
		one.since = time.Time{}
	}
	one.problem = problem
}

// offer has a content used that may be another one, and returns why it cannot be.
func (s *Store) offer(one *Secret, content []byte) (refusal string) {
	switch {
	case one.given != nil && bytes.Equal(content, one.given):
		one.refused = nil
		return ""
	case one.refused != nil && bytes.Equal(content, one.refused):
		return one.refusal
	}
	warning, err := one.use(bytes.Clone(content))
	if err != nil {
		one.refused, one.refusal = content, fmt.Sprintf("item %q of variable %q cannot be used: %v", one.Item, one.Path, err)
		return one.refusal
	}
	one.given, one.refused = content, nil
	if warning != "" {
		s.logger.Warn(warning, "path", one.Path, "item", one.Item, "for", one.Owner)
	}
	return ""
}

// lose has a secret used no more.
func (one *Secret) lose() {
	if one.given != nil {
		one.use(nil)
	}
	one.given, one.refused = nil, nil
}
