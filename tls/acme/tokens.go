package acme

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// listPause is the time between two lists of tokens, however many requests wait.
const listPause = 250 * time.Millisecond

// tokens finds the answers to validations that another serai has begun. Strangers can
// send validation requests, too, for as many hosts as there are. So the cost does not
// depend on the number of requests: one list of all tokens, begun after the requests,
// answers all for hosts without a token, and a token is read once, however many request
// it. Hosts without an order in progress take nothing from those that have one.
type tokens struct {
	engine *engine

	mu      sync.Mutex
	next    *round            // the list that has not begun; nil while no request waits for one
	running bool              // lists are read
	read    map[string]*token // by path, from the newest list
	ours    map[string]*token // by host, begun by certmagic in this process
}

// round is one list of the existing tokens.
type round struct {
	done     chan struct{}     // closed once the rest is set
	versions map[string]uint64 // by path; empty if the list could not be read
}

// token is the token of a validation. challenge is set when done is closed, nil if the
// token could not be read.
type token struct {
	version   uint64
	done      chan struct{}
	challenge *acme.Challenge
	told      atomic.Bool

	make sync.Once
	cert *tls.Certificate // for TLS-ALPN-01
	err  error
}

func newTokens(e *engine) *tokens {
	return &tokens{engine: e, read: make(map[string]*token), ours: make(map[string]*token)}
}

// own returns the token of a validation that this process has begun.
func (t *tokens) own(host string, c *acme.Challenge) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.ours[host]; old != nil && old.challenge.KeyAuthorization == c.KeyAuthorization && old.challenge.Type == c.Type {
		return old
	}
	fresh := &token{challenge: c}
	t.ours[host] = fresh
	return fresh
}

// forget drops a validation that this process has begun and ended.
func (t *tokens) forget(host string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ours, host)
}

// find returns the token of a host that is in the store when it is called, nil for
// none.
func (t *tokens) find(ctx context.Context, host string) *token {
	path := genericPath(t.engine.tokenKey(host))
	r := t.join()
	select {
	case <-r.done:
	case <-ctx.Done():
		return nil
	}
	version, there := r.versions[path]
	if !there {
		return nil
	}
	found := t.load(path, host, version)
	select {
	case <-found.done:
	case <-ctx.Done():
		return nil
	}
	if found.challenge == nil {
		return nil
	}
	return found
}

// join returns the next list, which begins after the call.
func (t *tokens) join() *round {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = &round{done: make(chan struct{})}
	}
	if !t.running {
		t.running = true
		go t.list()
	}
	return t.next
}

// list reads lists while requests wait for one.
func (t *tokens) list() {
	for {
		t.mu.Lock()
		r := t.next
		t.next = nil
		t.running = r != nil
		t.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
		entries, err := t.engine.storage.store.ListNewest(ctx, acmePath)
		cancel()
		r.versions = make(map[string]uint64, len(entries))
		for _, e := range entries {
			r.versions[e.Path] = e.Version
		}
		if err == nil {
			t.prune(r.versions)
		}
		close(r.done)
		time.Sleep(listPause)
	}
}

// prune forgets tokens that are gone.
func (t *tokens) prune(there map[string]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path := range t.read {
		if _, ok := there[path]; !ok {
			delete(t.read, path)
		}
	}
}

// load reads a token that was in a list, or returns it if it was read before. One that
// could not be read is read again for later requests.
func (t *tokens) load(path, host string, version uint64) *token {
	t.mu.Lock()
	defer t.mu.Unlock()
	found := t.read[path]
	if found == nil || found.version != version {
		found = &token{version: version, done: make(chan struct{})}
		t.read[path] = found
		go t.fetch(found, path, host)
	}
	return found
}

func (t *tokens) fetch(into *token, path, host string) {
	defer close(into.done)
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	value, err := t.engine.storage.Load(ctx, t.engine.tokenKey(host))
	c := new(acme.Challenge)
	if err == nil && json.Unmarshal(value, c) == nil && strings.EqualFold(c.Identifier.Value, host) {
		into.challenge = c
		return
	}
	if err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.read[path] == into {
			delete(t.read, path)
		}
	}
}
