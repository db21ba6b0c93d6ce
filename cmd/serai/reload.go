package main

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"serai/admin"
	"serai/internal/history"
	"serai/internal/mayhang"
	"serai/secret"
)

// configEvery is how often the config file, and the files that it refers to, are
// compared with what was read.
const configEvery = 2 * time.Second

// configReloader reads the config file again when it, or a file that it refers to, has
// changed. What it says of policies, auths, namespaces and shares is applied all at once;
// a file with an error changes nothing.
type configReloader struct {
	read   func(last *configFile) (*configFile, error)
	logger *slog.Logger
	// asked has an element when the file is to be read again although it may not have
	// changed; read files go to next, and what came of them comes back.
	asked chan struct{}
	next  chan configChange

	started, current *configFile
	// seen are the sums of what was read last, whether it had an error or not.
	seen map[string]fileSum
	// unsettled counts the looks since it was first seen to be written just then.
	unsettled int

	secrets *secret.Store // of all config files
	files   *fileReader   // likewise

	mu     sync.Mutex
	status admin.ConfigStatus
}

// quiet is how long a file has not been written when it is read, and hasty how many looks
// pass until it is read all the same.
const (
	quiet = time.Second
	hasty = 10
)

// configChange is a config file that is to be applied.
type configChange struct {
	*configFile
	applied chan<- error
}

func newConfigReloader(c *serveCommand, logger *slog.Logger) *configReloader {
	file := c.file
	if file.named.passwords == nil { // no file was read
		file.named.inherit(nil, &fileReader{})
	}
	return &configReloader{
		read: c.readAgain, logger: logger, asked: make(chan struct{}, 1), next: make(chan configChange),
		started: &file, current: &file, seen: file.sums, secrets: file.named.secrets, files: file.named.files,
		status: admin.ConfigStatus{File: file.path, Read: time.Now()},
	}
}

// Status returns the state of the config file.
func (r *configReloader) Status() admin.ConfigStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.status
	status.Secrets = secretStatus(r.secrets)
	return status
}

// inForce is the file that is in force.
func (r *configReloader) inForce() *configFile {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// Tokens describes the tokens and keys of the auths that are in force.
func (r *configReloader) Tokens() admin.TokenStatus { return r.inForce().tokenStatus() }

// Auths describes the auths that are in force.
func (r *configReloader) Auths() admin.AuthStatus { return r.inForce().authStatus() }

// LoginProblems says what is wrong with the providers of the auths that are in force.
func (r *configReloader) LoginProblems() []string { return r.inForce().loginProblems() }

// Ask has the file read again now.
func (r *configReloader) Ask() {
	select {
	case r.asked <- struct{}{}:
	default:
	}
}

// Run reads the file again whenever it has changed.
func (r *configReloader) Run(ctx context.Context) error {
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-r.asked:
			asked = true
		}
		next, changed, err := r.look(ctx, asked)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if changed && err == nil {
			err = r.apply(ctx, next)
		}
		if changed {
			r.note(next, err)
		}
	}
}

// looked is what one look found.
type looked struct {
	file      *configFile
	changed   bool
	unsettled bool // it has changed, and may be written still
	seen      map[string]fileSum
	err       error
}

// look reads the file if it has changed or somebody has asked for it.
func (r *configReloader) look(ctx context.Context, asked bool) (*configFile, bool, error) {
	last, seen, began := r.current, r.seen, time.Now()
	patient := !asked && r.unsettled < hasty
	l, ok := mayhang.Read(ctx, func() looked { return r.readAgain(last, seen, asked, patient) }, func() { r.hangs(began) })
	if !ok {
		return nil, false, ctx.Err()
	}
	r.hangsNoMore()
	r.seen = l.seen
	if r.unsettled++; !l.unsettled {
		r.unsettled = 0
	}
	return l.file, l.changed, l.err
}

// hangs notes that a read which began then does not come back.
func (r *configReloader) hangs(began time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	if s.Hangs = r.files.reading(); s.Hangs == "" {
		s.Hangs = s.File
	}
	s.HangsSince = began
	r.logger.Error("a read for the config file hangs: the file is a FIFO, or on a mount whose server does not answer; until it comes back, no change is seen",
		"path", s.File, "hangs", s.Hangs)
}

func (r *configReloader) hangsNoMore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := &r.status; s.Hangs != "" {
		r.logger.Info("the read for the config file no longer hangs", "path", s.File, "hung", s.Hangs)
		s.Hangs, s.HangsSince = "", time.Time{}
	}
}

// readAgain is what look does; it may hang.
func (r *configReloader) readAgain(last *configFile, seen map[string]fileSum, asked, patient bool) looked {
	if !asked && r.files.unchanged(seen) {
		return looked{seen: seen}
	}
	// Of a file that is written where it stands, a half may be right by itself, and
	// not have what keeps a route closed.
	if patient && !settled(seen, time.Now()) {
		return looked{seen: seen, unsettled: true}
	}
	now := make(map[string]fileSum, len(seen))
	for path := range seen {
		now[path] = r.files.sum(path)
	}
	file, err := r.read(last)
	switch {
	case err == nil:
		now = file.sums
	case file != nil: // an error may be in a file that it names
		maps.Copy(now, file.sums)
	}
	return looked{file: file, changed: true, seen: now, err: err}
}

// variablesWait is how long the variables that a changed file names are waited for.
const variablesWait = 5 * time.Second

// apply has the routes made anew, when the secrets are known that they need now, so that no
// request meets an auth that does not know yet whom to let in.
func (r *configReloader) apply(ctx context.Context, next *configFile) (err error) {
	before := r.current.named.secretsOf()
	r.secrets.Follow(append(before, next.named.secretsOf()...))
	defer func() {
		if err != nil {
			r.secrets.Follow(before)
			return
		}
		r.secrets.Follow(next.named.secretsOf())
	}()
	enough := time.NewTimer(variablesWait)
	defer enough.Stop()
	select {
	case <-r.secrets.Asked():
	case <-enough.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	applied := make(chan error, 1)
	select {
	case r.next <- configChange{next, applied}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-applied:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note records and logs what came of a change.
func (r *configReloader) note(next *configFile, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	if err != nil {
		s.Refused++
		s.Problem, s.ProblemSince = err.Error(), time.Now()
		history.Tell(r.logger, slog.LevelError, history.ConfigRefused, "the config file has an error: its last good version stays in force", "path", r.current.path, "error", err)
		return
	}
	r.current.closeAuths(next)
	next.followKeys()
	next.tellWeak(r.logger)
	next.tellIgnored(r.logger)
	r.current = next
	s.Applied++
	s.Problem, s.ProblemSince, s.Read = "", time.Time{}, time.Now()
	history.Tell(r.logger, slog.LevelInfo, history.ConfigApplied, "the config file has been applied", "path", next.path,
		"policies", len(next.named.policies), "auths", len(next.named.auths), "namespaces", len(next.namespaces), "shares", len(next.shares))
	waits := next.needsRestart(r.started)
	if len(waits) > 0 && !slices.Equal(waits, s.Waits) {
		r.logger.Warn("settings of the config file have changed that take effect only at a restart", "path", next.path, "settings", strings.Join(waits, ","))
	}
	s.Waits = waits
}

// needsRestart returns what differs from the file that serai was started with, and is
// read only at a start: the flags, and client_certificates.
func (c *configFile) needsRestart(started *configFile) (names []string) {
	for name := range maps.Keys(c.flags) {
		if was, ok := started.flags[name]; !ok || was != c.flags[name] {
			names = append(names, strings.ReplaceAll(name, "-", "_"))
		}
	}
	for name := range started.flags {
		if _, ok := c.flags[name]; !ok {
			names = append(names, strings.ReplaceAll(name, "-", "_"))
		}
	}
	if !reflect.DeepEqual(c.clientRules, started.clientRules) {
		names = append(names, "client_certificates")
	}
	slices.Sort(names)
	return names
}
