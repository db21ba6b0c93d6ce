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
	"strings"
	"sync"

	"github.com/mholt/acmez/v3/acme"
)

// store stores a token where a CA's token would be, once.
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

// ask sends a validation request to serai, and returns those that do not answer it.
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
		if !w.peers.asked(p, errs[i]) {
			continue
		}
		text := errs[i].Error()
		if !w.peers.awaited[p].since.IsZero() {
			text = "is not registered any more, but " + text
		}
		missing, silent = append(missing, p), append(silent, SilentPeer{p.Address, shorten(text)})
	}
	return missing, silent
}

// newPeerClient makes an HTTP client that asks like a CA, but follows no redirect and
// keeps no connection.
func newPeerClient() *http.Client {
	return &http.Client{
		Timeout:       peerTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: peerTimeout}).DialContext},
	}
}

// askPeer requests a token from one serai (RFC 8555 section 8.3).
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
