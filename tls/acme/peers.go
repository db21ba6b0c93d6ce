package acme

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// Peer is a serai that a CA's validations may arrive at.
type Peer struct {
	// ID is another one when the serai was started with other flags.
	ID string
	// Address is that of its plain HTTP listener.
	Address string
}

// Waiting is what orders wait for: serai that do not answer validations yet.
type Waiting struct {
	Since time.Time `json:"since"`
	// Until is when orders go on without them, unless more of them answer or
	// others come.
	Until time.Time `json:"until"`
	// Problem is why the serai are not known, empty when they are.
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

// The leader looks again after pauses that grow up to peerPause, asks so many
// serai at once, and shows so many.
const (
	peerPause   = 2 * time.Second
	peerTimeout = 3 * time.Second
	peersAtOnce = 16
	peersShown  = 8
	// peersFresh is how long a list of serai is believed: of a hundred orders
	// that begin together one asks.
	peersFresh = 2 * time.Second
	// peerWaits is how many times PeerWait orders wait in all, however slowly
	// one serai after the other is replaced.
	peerWaits = 24
)

// answerKept is how long serai of earlier builds keep an answer: the CA must
// not be given that of a token which is gone.
const answerKept = 600 * time.Millisecond

// probePrefix begins the tokens that the leader asks other serai for.
const probePrefix = "serai-peer-"

// peers is what the leader knows of the serai that a CA may ask.
type peers struct {
	mu sync.Mutex // one order asks for all
	// passed are those that have answered, or were waited for long enough.
	passed map[Peer]bool
	listed time.Time // when all that were listed had passed
}

// awaitPeers waits until every serai answers validations, since the CA may ask
// any of them: one that runs old flags would pass the question on to the
// application. It returns false when ctx has ended, or when nobody wants the host
// any more, which is one that is to be ordered: no serai would answer for it, and
// the next order asks for another.
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
	w.whole = peerWaits * l.options.PeerWait
	if e := l.certOf(host); e != nil && e.cert != nil {
		// What expires soon cannot wait so long.
		w.whole = min(w.whole, max(time.Until(e.cert.Leaf.NotAfter)/5, 0))
	}
	defer w.end(ctx)
	for wait := 100 * time.Millisecond; ctx.Err() == nil && l.Wants(host); wait = min(2*wait, peerPause) {
		if w.look(ctx) {
			l.peers.listed = time.Now()
			return ctx.Err() == nil
		}
		pause(ctx, wait)
	}
	return false
}

// peerWait is one wait for the serai that have not passed.
type peerWait struct {
	*leader
	client    *http.Client
	host      string
	challenge *acme.Challenge // in the store; nil before anybody is asked
	began     time.Time
	progress  time.Time // when a serai last answered, came or went
	whole     time.Duration
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
		w.peers.passed = passed // who has gone is forgotten
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
	until := w.progress.Add(w.options.PeerWait)
	if last := w.began.Add(w.whole); last.Before(until) {
		until = last
	}
	w.tell(silent, len(missing), until, err)
	if time.Now().Before(until) {
		return false
	}
	w.options.Logger.Warn("certificates are ordered although not every serai answers validations: those that arrive there will fail",
		"waited", time.Since(w.began).Round(time.Second), "serai", len(missing), "such_as", shown(silent), "error", errorText(err))
	for _, p := range missing {
		w.peers.passed[p] = true
	}
	return true
}

// tell shows what is waited for, and logs it once.
func (w *peerWait) tell(silent []SilentPeer, count int, until time.Time, err error) {
	w.waiting.Store(&Waiting{Since: w.began, Until: until, Count: count, Peers: silent[:min(len(silent), peersShown)], Problem: errorText(err)})
	// Those that were just started need a moment.
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

// store puts a token where a CA's would be, once.
func (w *peerWait) store(ctx context.Context) error {
	if w.challenge != nil {
		return nil
	}
	token := probePrefix + strings.ToLower(rand.Text())
	c := &acme.Challenge{
		Type: acme.ChallengeTypeHTTP01, Token: token, KeyAuthorization: token + ".",
		Identifier: acme.Identifier{Type: "dns", Value: w.host},
	}
	value, err := json.Marshal(c)
	if err == nil {
		err = w.engine.storage.Store(ctx, w.engine.tokenKey(w.host), value)
	}
	if err == nil {
		w.challenge = c
	}
	return err
}

// end removes the token, and lets the answers be forgotten that others keep.
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
		w.options.Logger.Warn("a token stays in the store until the next order", "host", w.host, "error", err)
	}
	pause(ctx, answerKept)
}

// ask puts the CA's question to serai, and returns those that do not answer it.
func (w *peerWait) ask(ctx context.Context, all []Peer) (missing []Peer, silent []SilentPeer) {
	errs := make([]error, len(all))
	slots := make(chan struct{}, peersAtOnce)
	var asking sync.WaitGroup
	for i, p := range all {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			errs[i] = askPeer(ctx, w.client, p.Address, w.host, w.challenge)
		})
	}
	asking.Wait()
	for i, p := range all {
		if errs[i] == nil {
			w.peers.passed[p] = true
			continue
		}
		missing, silent = append(missing, p), append(silent, SilentPeer{p.Address, shorten(errs[i].Error())})
	}
	return missing, silent
}

// newPeerClient makes what asks as a CA does, but follows no redirect and keeps
// nothing open.
func newPeerClient() *http.Client {
	return &http.Client{
		Timeout:       peerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: peerTimeout}).DialContext},
	}
}

// askPeer asks one serai for a token (RFC 8555 section 8.3).
func askPeer(ctx context.Context, client *http.Client, address, host string, c *acme.Challenge) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+c.HTTP01ResourcePath(), nil)
	if err != nil {
		return err
	}
	r.Host = host
	r.Header.Set("User-Agent", "serai")
	res, err := client.Do(r)
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		return network
	case err != nil:
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	switch {
	case err != nil:
		return err
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("answers %d: it does not run with these flags yet, or does not know the host", res.StatusCode)
	case strings.TrimSpace(string(body)) != c.KeyAuthorization:
		return errors.New("passes validations on to the application: it does not run with these flags yet")
	}
	return nil
}
