package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
)

// Access says who may read more of the admin than whether serai is healthy and ready. The
// zero value lets everybody read. What it is made of is checked with each request, and
// may change at any time.
type Access struct {
	// Tokens are those of which a request must have one; nil asks for none.
	Tokens *Tokens
	// Verify says what is wrong with the certificate of a client, the first of a chain; nil
	// asks for none. Where both are asked for, a request needs both.
	Verify func(chain []*x509.Certificate) error
	// OwnName reports whether the certificate that a client of TLS has seen is for a name,
	// which the Host of a request may be then; nil for none.
	OwnName func(name string) bool
	// Profiles lets other machines take profiles, too.
	Profiles bool
}

// asks reports whether somebody must say who they are.
func (c *Access) asks() bool { return c.Tokens != nil || c.Verify != nil }

// denial is why a request is not answered: an index of denials.
type denial int

const (
	admits denial = iota - 1
	noCertificate
	wrongCertificate
	noToken
	wrongToken
	unknownTokens
	denialCount
)

// denials say each of them: the status, the word of the metric, and what to do.
var denials = [denialCount]struct {
	status       int
	reason, says string
}{
	noCertificate:    {http.StatusForbidden, "no-certificate", "serai's admin wants a certificate of its clients (--admin-client-ca-file): show one, as serai's commands do with --admin-client-cert-file"},
	wrongCertificate: {http.StatusForbidden, "wrong-certificate", "serai's admin does not know the client's certificate, or it has expired: it wants one that --admin-client-ca-file has signed"},
	noToken:          {http.StatusUnauthorized, "no-token", "serai's admin wants a token: Authorization: Bearer TOKEN, or in a browser any name with the token as its password; serai's commands send that of --admin-token-file"},
	wrongToken:       {http.StatusUnauthorized, "wrong-token", "serai's admin does not know this token: it wants one of its --admin-token-file, or of --admin-token-variable"},
	unknownTokens:    {http.StatusServiceUnavailable, "unknown-tokens", "serai's admin knows no token yet: the Nomad variable of --admin-token-variable has not been read, or it does not exist; serai's log says which"},
}

// denies returns why a request may not read all, or admits.
func (c *Access) denies(r *http.Request) denial {
	if c.Verify != nil {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return noCertificate
		}
		// A connection may be older than a change of the CA, or than the expiry.
		if c.Verify(r.TLS.PeerCertificates) != nil {
			return wrongCertificate
		}
	}
	if c.Tokens != nil {
		token := tokenOf(r)
		if token == "" {
			return noToken
		}
		if !c.Tokens.known() {
			return unknownTokens // the client's may be right
		}
		if !c.Tokens.has(token) {
			return wrongToken
		}
	}
	return admits
}

// tokenOf is the token that a request has, empty for none: as RFC 6750 has it, or as the
// password of any user, which a browser asks for. Never in a query, which logs and histories have.
func tokenOf(r *http.Request) string {
	if len(r.Header.Values("Authorization")) != 1 {
		return "" // two could be read in two ways
	}
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// again is how often it is looked whether one who follows still may.
const again = 2 * time.Second

// admitted serves who may read all; others learn whether serai is healthy and ready.
func (a *Admin) admitted(next http.Handler) http.Handler {
	access := &a.options.Access
	if !access.asks() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch why := access.denies(r); {
		case why == admits:
		case r.URL.Path == "/health":
			health(w, r)
			return
		case r.URL.Path == "/ready":
			a.serveReadyBrief(w)
			return
		default:
			a.denied[why].Add(1)
			switch denials[why].status {
			case http.StatusUnauthorized:
				w.Header()["Www-Authenticate"] = []string{`Bearer realm="serai"`, `Basic realm="serai", charset="UTF-8"`}
			case http.StatusServiceUnavailable:
				w.Header().Set("Retry-After", "5")
			}
			http.Error(w, denials[why].says, denials[why].status)
			return
		}
		if follows(r) {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			asked := r
			go func() {
				tick := time.NewTicker(again)
				defer tick.Stop()
				for access.denies(asked) == admits {
					select {
					case <-ctx.Done():
						return
					case <-tick.C:
					}
				}
				cancel()
			}()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// local reports whether a request comes from this machine.
func local(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && from.Addr().Unmap().IsLoopback()
}

// profiled serves profiles to who is on this machine: they slow every request down, and show
// the command line.
func (a *Admin) profiled(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.options.Access.Profiles && !local(r) {
			http.Error(w, "profiles are served to this machine only, unless --admin-pprof is set", http.StatusForbidden)
			return
		}
		if !a.profiles.Take(1, maxProfiles) {
			a.profilesRefused.Add(1)
			http.Error(w, fmt.Sprintf("%d profiles are taken already: try again", maxProfiles), http.StatusServiceUnavailable)
			return
		}
		defer a.profiles.Give(1)
		next(w, r)
	}
}

// maxProfiles bounds those that are taken at once: one of all goroutines may have 64 MiB.
const maxProfiles = 4

// Tokens are the tokens of which a request must have one. None is kept, only their SHA-256
// sums. The zero value knows none, and lets nobody in. All methods may be called concurrently.
type Tokens struct {
	sums atomic.Pointer[[][sha256.Size]byte]
}

// Limits of tokens: each is compared with each request, and a short one could be guessed.
const (
	maxTokens     = 16
	minTokenBytes = 16
	maxTokenBytes = 4096
)

// Set replaces all tokens by those of a text: one a line; empty lines and those that begin with
// # are left out. So a new token can be valid before the old one has gone everywhere. On an error, which has nothing of a token, those of before stay.
func (t *Tokens) Set(text []byte) error {
	all, err := ParseTokens(text)
	if err != nil {
		return err
	}
	sums := make([][sha256.Size]byte, len(all))
	for i, token := range all {
		sums[i] = sha256.Sum256([]byte(token))
	}
	t.sums.Store(&sums)
	return nil
}

// Clear makes it know none.
func (t *Tokens) Clear() { t.sums.Store(nil) }

// ParseTokens returns the tokens of a text: see Tokens.Set.
func ParseTokens(text []byte) (all []string, err error) {
	number := 0
	for line := range bytes.Lines(text) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		if len(line) < minTokenBytes || len(line) > maxTokenBytes {
			return nil, fmt.Errorf("line %d: a token has %d to %d bytes", number, minTokenBytes, maxTokenBytes)
		}
		for _, b := range line {
			if b <= ' ' || b > '~' {
				return nil, fmt.Errorf("line %d: a token has letters, digits and signs of ASCII alone; one stands on each line", number)
			}
		}
		all = append(all, string(line))
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("there is no token in it: write one, such as `openssl rand -hex 32` makes")
	case len(all) > maxTokens:
		return nil, fmt.Errorf("%d tokens are more than %d", len(all), maxTokens)
	}
	return all, nil
}

// known reports whether there is any token to compare with.
func (t *Tokens) known() bool { return t.sums.Load() != nil }

// has reports whether a token is one of them. How long that takes does not tell how much of it
// is right, nor of which.
func (t *Tokens) has(token string) bool {
	sums := t.sums.Load()
	if sums == nil {
		return false
	}
	sum, found := sha256.Sum256([]byte(token)), 0
	for i := range *sums {
		found |= subtle.ConstantTimeCompare(sum[:], (*sums)[i][:])
	}
	return found == 1
}
