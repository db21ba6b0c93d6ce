package acme

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"serai/internal/history"
	"serai/internal/sleep"
	"serai/tls"
	"serai/tls/certstore"
)

// mirror keeps the watched records of the store in memory, and their certificates in
// the SNI table. It drops a record only when the store says that it is gone, not when a
// list lacks it, which may be a refusal by Nomad.
type mirror struct {
	store   certstore.Store
	sealer  *certstore.Sealer
	local   *certstore.Directory
	certs   *tls.Store
	logger  *slog.Logger
	changed func()
	first   func() // called when certificates have been read
	ca      string // the CA whose certificates are preferred

	complete chan struct{} // closed once everything has been read

	mu      sync.Mutex
	entries map[string]*entry // by path
	problem string            // why the store cannot be read, empty when it can
	since   time.Time         // of the problem, or of the last answer
}

// entry is a valid record, or why it is not valid.
type entry struct {
	version uint64
	host    string
	// namespace is the namespace of the route for which the certificate was ordered;
	// empty in records of earlier builds.
	namespace string
	cert      *tls.Certificate
	failure   *Failure
	tickets   *tickets
	problem   string
	sealed    bool // the problem is a missing key
}

func newMirror(o *Options, ca string, changed func()) *mirror {
	return &mirror{
		store: o.Store, sealer: o.Sealer, local: o.Local, certs: o.Certificates, logger: o.Logger, changed: changed, first: o.Read, ca: ca,
		complete: make(chan struct{}), entries: make(map[string]*entry), since: time.Now(),
	}
}

// source names the certificates in the SNI table.
const source = "acme"

// Concurrent reads when there is much to read, and the number of certificates after
// which the ones read so far are published.
const (
	readers = 16
	batch   = 500
)

// run follows the store until ctx ends.
func (m *mirror) run(ctx context.Context) {
	m.loadLocal(ctx)
	index, wait := uint64(0), time.Duration(0)
	turns := newTurns()
	for turns.Wait(ctx) == nil {
		asked := time.Now()
		entries, next, err := m.store.List(ctx, watched, index)
		if err == nil {
			err = m.follow(ctx, entries)
		}
		if ctx.Err() != nil {
			return
		}
		m.say(err)
		if err == nil {
			if index == 0 {
				close(m.complete)
				m.first()
			}
			// Lists of many records cost Nomad much: the more there are, the longer
			// changes are collected, a second for a thousand. This wait is skipped when
			// nothing has changed.
			wait = rand.N(time.Duration(len(entries)+1) * time.Millisecond)
			if next == index && time.Since(asked) < time.Second {
				wait = time.Second
			}
			sleep.For(ctx, wait)
			index, wait = next, 0
			continue
		}
		// What has changed meanwhile is read after the next list.
		wait = min(max(2*wait, time.Second), 30*time.Second)
		sleep.For(ctx, wait/2+rand.N(wait/2))
	}
}

// say records and logs each new problem with the store, and its end.
func (m *mirror) say(err error) {
	m.mu.Lock()
	before := m.problem
	m.problem = ""
	if err != nil {
		m.problem = err.Error()
	}
	if (before == "") != (err == nil) || err == nil {
		m.since = time.Now()
	}
	m.mu.Unlock()
	switch {
	case err != nil && before != err.Error():
		history.Tell(m.logger, slog.LevelError, history.SourceLost, "the certificate store cannot be read; the known certificates are still served", "source", "certificate store", "error", err)
	case err == nil && before != "":
		history.Tell(m.logger, slog.LevelInfo, history.SourceBack, "the certificate store can be read again", "source", "certificate store")
	}
}

// loadLocal serves this node's copy.
func (m *mirror) loadLocal(ctx context.Context) {
	if m.local == nil {
		return
	}
	entries, _, err := m.local.List(ctx, watched, 0)
	for _, e := range entries {
		r, err := m.local.Get(ctx, e.Path)
		if err != nil {
			m.logger.Warn("a certificate in this node's copy (--state-dir) cannot be used", "error", err)
			continue
		}
		if !m.take(r) {
			m.at(e.Path).version = 0 // so that the store's own is read
		}
	}
	if err != nil {
		m.logger.Warn("this node's copy of the certificates (--state-dir) cannot be used", "error", err)
	}
	if len(entries) > 0 {
		m.publish()
		m.first()
		m.logger.Info("certificates read from this node's copy", "certificates", len(m.hosts()))
	}
}

// follow reads what has changed, and checks what the list lacks.
func (m *mirror) follow(ctx context.Context, list []certstore.Entry) error {
	m.mu.Lock()
	listed := make(map[string]bool, len(list))
	least := make(map[string]uint64)
	var paths []string
	for _, e := range list {
		listed[e.Path] = true
		if have := m.entries[e.Path]; have == nil || have.version != e.Version {
			paths = append(paths, e.Path)
			least[e.Path] = e.Version
		}
	}
	for path := range m.entries {
		if !listed[path] {
			paths = append(paths, path)
		}
	}
	m.mu.Unlock()
	if len(paths) == 0 {
		return nil
	}
	slices.Sort(paths)
	if len(list) == 0 {
		// An empty list may be a refusal by Nomad: reading one record shows.
		if _, err := m.store.Read(ctx, paths[0], 0); !errors.Is(err, certstore.ErrNotFound) {
			return errors.Join(errUnlisted, err)
		}
	}
	var errs []error
	for some := range slices.Chunk(paths, batch) {
		errs = append(errs, m.readAll(ctx, some, least))
		m.publish()
	}
	m.changed()
	return errors.Join(errs...)
}

// errUnlisted says that a list is empty although there are records.
var errUnlisted = errors.New("the list of certificates is empty although there are some: the capability list is missing in serai's policy")

// readAll reads records, several at once. One that cannot be read does not affect the
// others; when many cannot be read and none can, the rest is not tried.
func (m *mirror) readAll(ctx context.Context, paths []string, least map[string]uint64) error {
	work := make(chan string)
	var running sync.WaitGroup
	var mu sync.Mutex
	var first error
	failed, good := 0, 0
	for range min(readers, len(paths)) {
		running.Go(func() {
			for path := range work {
				err := m.read(ctx, path, least[path])
				mu.Lock()
				if err == nil {
					good++
				} else if failed++; first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	hopeless := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failed >= readers && good == 0
	}
	for _, path := range paths {
		if hopeless() {
			break
		}
		work <- path
	}
	close(work)
	running.Wait()
	if first == nil {
		return nil
	}
	return fmt.Errorf("%d of %d records were read: %w", good, len(paths), first)
}

// read updates one record, to at least that version.
func (m *mirror) read(ctx context.Context, path string, least uint64) error {
	r, err := m.store.Read(ctx, path, least)
	if errors.Is(err, certstore.ErrNotFound) {
		m.forget(ctx, path)
		return nil
	}
	if err != nil {
		return err
	}
	if good := m.take(r); good && m.local != nil && !strings.HasPrefix(path, failsPath) {
		if err := m.local.Copy(r); err != nil {
			m.logger.Error("cannot save a certificate on this node: it will be missing if serai starts while the store is unreachable", "error", err)
		}
	}
	return nil
}

func (m *mirror) forget(ctx context.Context, path string) {
	m.mu.Lock()
	delete(m.entries, path)
	m.mu.Unlock()
	if m.local != nil {
		if err := m.local.Delete(ctx, path); err != nil {
			m.logger.Warn("cannot remove a certificate that is gone from this node's disk", "error", err)
		}
	}
}

// take makes an entry of a record, and reports whether it is valid. An invalid one, or
// half of a certificate, does not replace what was served before.
func (m *mirror) take(r *certstore.Record) bool {
	e := &entry{version: r.Version}
	var err error
	switch {
	case strings.HasPrefix(r.Path, certsPath):
		e.host, e.cert, err = readCertificate(r, m.sealer)
		e.namespace = r.Items["namespace"]
	case strings.HasPrefix(r.Path, failsPath):
		e.failure, err = readFailure(r)
	case r.Path == ticketPath:
		e.tickets, err = readTickets(r, m.sealer)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if old := m.entries[r.Path]; old != nil {
			e.host, e.namespace, e.cert, e.tickets = old.host, old.namespace, old.cert, old.tickets
		}
		e.problem, e.sealed = err.Error(), errors.Is(err, certstore.ErrSealed)
		m.logger.Error("a record in the certificate store cannot be used", "error", err)
	}
	m.entries[r.Path] = e
	return err == nil
}

// publish puts the certificates into the SNI table: for each host the one of our CA, or
// another one if there is none.
func (m *mirror) publish() {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*tls.Certificate
	for _, path := range slices.Sorted(maps.Keys(m.entries)) {
		e := m.entries[path]
		if e.cert == nil {
			continue
		}
		own := m.entries[certPath(m.ca, e.host)]
		if own == nil || own.cert == nil || own == e || time.Now().After(own.cert.Leaf.NotAfter) {
			all = append(all, e.cert)
		}
	}
	m.certs.Set(source, all, nil)
	if e := m.entries[ticketPath]; e != nil && e.tickets != nil {
		m.certs.SetTickets(e.tickets.keys)
	}
}

// refresh reads one record now, so that its writer sees it.
func (m *mirror) refresh(ctx context.Context, path string) error {
	err := m.read(ctx, path, certstore.Newest)
	m.publish()
	return err
}
