package acme

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"

	"serai/internal/sleep"
)

// Peer is a serai that may receive a CA's validations.
type Peer struct {
	// ID changes when the serai is started with other flags.
	ID string
	// Address is the address of its plain HTTP listener.
	Address string
}

// Waiting says which serai orders wait for, because these do not answer validations
// yet.
type Waiting struct {
	Since time.Time `json:"since"`
	// Until is when orders go on without them, unless one of them answers or another
	// one starts before.
	Until time.Time `json:"until"`
	// Problem is why the list of serai cannot be read, empty when it can.
	Problem string `json:"problem,omitempty"`
	// Count is how many do not answer, Peers are the first few of them.
	Count int          `json:"count"`
	Peers []SilentPeer `json:"peers"`
}

// SilentPeer is a serai that does not answer validations, and why.
type SilentPeer struct {
	Address string `json:"address"`
	Error   string `json:"error"`
}

// The leader asks again after pauses that grow up to peerPause, asks so many serai at
// once, and shows so many.
const (
	peerPause   = 2 * time.Second
	peerTimeout = 3 * time.Second
	peersAtOnce = 16
	peersShown  = 8
	// peersFresh is how long a list of serai is used: of a hundred orders that begin
	// together, one reads it.
	peersFresh = 2 * time.Second
	// peerWaits is how many times PeerWait orders wait in all, however slowly one serai
	// after the other is replaced.
	peerWaits = 24
)

// answerKept is how long serai of earlier builds keep an answer: the CA must not get
// the answer for a token that is gone.
const answerKept = 600 * time.Millisecond

// probePrefix begins the tokens that the leader requests from other serai.
const probePrefix = "serai-peer-"

// peers is what the leader knows about the serai that may receive validations.
type peers struct {
	mu sync.Mutex // one order asks for all
	// passed are the serai that have answered, or were waited for long enough.
	passed  map[Peer]bool
	awaited map[Peer]leaving // the others, registered or leaving
	listed  time.Time        // when all listed serai had passed
}

// awaitPeers waits until every serai answers validations, since the CA may ask any of
// them: one with old flags would forward the request to the application. It returns
// false when ctx has ended, or when no route wants host any more, the host to be
// ordered: then no serai would answer for it, and the next order asks with another
// host.
func (l *leader) awaitPeers(ctx context.Context, host string) bool {
	if l.options.Peers == nil {
		return true
	}
	l.peers.mu.Lock()
	defer l.peers.mu.Unlock()
	if time.Since(l.peers.listed) < peersFresh {
		return ctx.Err() == nil
	}
	w := &peerWait{leader: l, client: newPeerClient(), host: host, began: time.Now(), progress: time.Now()}
	defer w.end(ctx)
	// For a host that no route wants any more, other serai answer no validation.
	for wait := 100 * time.Millisecond; ctx.Err() == nil && l.Wants(host); wait = min(2*wait, peerPause) {
		if w.look(ctx) {
			l.peers.listed = time.Now()
			return ctx.Err() == nil
		}
		sleep.For(ctx, wait)
	}
	return false
}

// peerWait is one wait for the serai that have not passed.
type peerWait struct {
	*leader
	client    *http.Client
	host      string
	challenge *acme.Challenge // in the store; nil before any serai is asked
	began     time.Time
	progress  time.Time // when a serai last answered, started or ended
	missing   []Peer
	told      bool
}

// look asks the serai that have not passed, and reports whether all have.
func (w *peerWait) look(ctx context.Context) bool {
	all, err := w.options.Peers(ctx)
	var missing []Peer
	if err == nil {
		passed := make(map[Peer]bool, len(all))
		for _, p := range all {
			if w.peers.passed[p] {
				passed[p] = true
			} else {
				missing = append(missing, p)
			}
		}
		w.peers.passed = passed // serai that have gone are forgotten
		missing = w.peers.await(all, missing)
		if len(missing) == 0 {
			return true
		}
		err = w.store(ctx)
	}
	var silent []SilentPeer
	if err == nil {
		missing, silent = w.ask(ctx, missing)
		if len(missing) == 0 {
			return true
		}
		if !slices.Equal(missing, w.missing) {
			w.missing, w.progress = missing, time.Now()
		}
	}
	if ctx.Err() != nil {
		return false
	}
	until := w.until()
	w.tell(silent, len(missing), until, err)
	if time.Now().Before(until) {
		return false
	}
	w.options.Logger.Warn("certificates are ordered although not every serai answers validations: those that arrive there will fail",
		"waited", time.Since(w.began).Round(time.Second), "serai", len(missing), "such_as", shown(silent), "error", errorText(err))
	for _, p := range missing {
		w.peers.passed[p] = true
	}
	clear(w.peers.awaited)
	return true
}

// until is when the wait ends at the latest. Orders of other hosts wait behind this
// one, so the certificate that expires first counts: the wait must not take more than a
// fifth of the time that it has left.
func (w *peerWait) until() time.Time {
	until := w.progress.Add(w.options.PeerWait)
	if last := w.began.Add(peerWaits * w.options.PeerWait); last.Before(until) {
		until = last
	}
	now := time.Now()
	for _, host := range w.options.wanted() {
		e := w.certOf(host.Name)
		if e == nil || e.cert == nil {
			continue
		}
		last := w.began.Add(max(e.cert.Leaf.NotAfter.Sub(w.began), 0) / 5)
		if last.Before(until) && !w.due(host).at.After(now) {
			until = last
		}
	}
	return until
}

// tell shows what orders wait for, and logs it once.
func (w *peerWait) tell(silent []SilentPeer, count int, until time.Time, err error) {
	w.waiting.Store(&Waiting{Since: w.began, Until: until, Count: count, Peers: silent[:min(len(silent), peersShown)], Problem: errorText(err)})
	// Serai that were just started need a moment.
	if w.told || time.Since(w.began) < peerPause {
		return
	}
	w.told = true
	w.options.Logger.Warn("orders wait until every serai answers the CA's validations: see /certificates",
		"serai", count, "such_as", shown(silent), "until", until.UTC().Format(time.RFC3339), "error", errorText(err))
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return shorten(err.Error())
}

func shown(silent []SilentPeer) string {
	var b strings.Builder
	for i, s := range silent[:min(len(silent), peersShown)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(s.Address + " " + s.Error)
	}
	return b.String()
}

// end removes the token, and waits until other serai have dropped its answer.
func (w *peerWait) end(ctx context.Context) {
	w.waiting.Store(nil)
	if w.told && ctx.Err() == nil {
		w.options.Logger.Info("orders go on", "waited", time.Since(w.began).Round(time.Second))
	}
	if w.challenge == nil {
		return
	}
	removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := w.engine.storage.Delete(removing, w.engine.tokenKey(w.host)); err != nil {
		w.options.Logger.Warn("cannot remove a token from the store before the next order", "host", w.host, "error", err)
	}
	sleep.For(ctx, answerKept)
}
