package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/oauth2"

	oidclib "github.com/coreos/go-oidc/v3/oidc"

	"serai/internal/quota"
	"serai/policy"
	"serai/policy/auth"
	"serai/wire"
)

// Login lets in who has logged in at a provider.
type Login struct {
	name                               string
	o                                  Options
	owned                              policy.Names
	userField, emailField, groupsField []byte
	challenge                          wire.Field
	provider                           *provider
	places                             *auth.Places
	shared                             *Shared
}

var (
	_ policy.Owner    = (*Login)(nil)
	_ policy.Answerer = (*Login)(nil)
)

// New makes the policy of that name. Close ends its connections.
func New(name string, o Options, shared *Shared) (*Login, error) {
	o.setDefaults(name)
	if err := o.check(); err != nil {
		return nil, err
	}
	l := &Login{
		name: name, o: o, shared: shared, places: auth.NewPlaces(o.MaxInflight, errBusy, errClientBusy),
		owned:     policy.Names{o.UserField, o.EmailField, o.GroupsField},
		userField: []byte(o.UserField), emailField: []byte(o.EmailField), groupsField: []byte(o.GroupsField),
		challenge: wire.Field{Name: []byte("WWW-Authenticate"), Value: []byte(`Cookie realm="` + name + `"`)},
	}
	if o.Provider == nil {
		var err error
		if o.Provider, err = NewProvider(ProviderOptions{Issuer: o.Issuer, Insecure: o.Insecure}); err != nil {
			return nil, err
		}
	}
	l.provider = &provider{Provider: o.Provider, o: &l.o, problems: problems{auth: name, shared: shared}}
	return l, nil
}

// Provider is where users log in.
func (l *Login) Provider() *Provider { return l.provider.Provider }

// Close ends the connections that are idle.
func (l *Login) Close() { l.provider.close() }

// Owns implements policy.Owner.
func (l *Login) Owns() policy.Names { return l.owned }

// Answers implements policy.Answerer.
func (l *Login) Answers() []string { return []string{l.o.CallbackPath, l.o.LogoutPath} }

// Waiting returns how many requests wait for the provider, and how many may.
func (l *Login) Waiting() (now, most int) { return l.places.Now() }

// Explain implements policy.Policy.
func (l *Login) Explain() string {
	line := fmt.Sprintf("auth: %s wants a login at %s", l.name, l.o.Issuer)
	if len(l.o.Groups) > 0 {
		line += ", and one of the groups " + strings.Join(l.o.Groups, ", ")
	}
	if l.o.Keys() == nil {
		line += "; nobody knows the key of its cookies yet, so nobody gets in"
	}
	return line
}

// asking is a request that is asked who it is.
type asking struct {
	policy.Request
	l       *Login
	reply   *policy.Reply
	now     time.Time
	host    string // as routes are looked up
	origin  string // as the browser sees it: https://app.example.org
	secure  bool
	cookies cookies
}

// client is who counts as one.
func (a *asking) client() netip.Prefix { return quota.ClientOf(a.ClientAddr()) }

// Request implements policy.RequestPolicy.
func (l *Login) Request(r policy.Request, reply *policy.Reply) (answered bool) {
	head := r.Received()
	a := &asking{Request: r, l: l, reply: reply, now: time.Now(), secure: r.OverHTTPS()}
	a.host = string(r.AppendHost(nil))
	switch {
	case a.host == "":
		return a.refuse(wire.ErrHostMissing.Status, wire.ErrHostMissing.Code, "a login needs a host")
	case !a.secure && !l.o.Insecure:
		return a.refuse(403, policy.ErrAuthDenied.Code, "this needs https: a login over plain http would be anybody's")
	}
	if l.o.Keys() == nil {
		return a.unable(errNoKeys)
	}
	a.origin = originOf(string(head.Host), a.secure)
	a.cookies = l.readCookies(head.Fields, a.secure)
	switch string(head.Path) {
	case l.o.CallbackPath:
		return a.callback()
	case l.o.LogoutPath:
		return a.logout()
	}
	s, err := a.session()
	switch {
	case err == errGone:
		reply.Status = 0
		return true
	case err != nil && !a.navigates():
		return a.unable(err)
	case s == nil:
		// Also where the provider only cannot renew the session: some answer 500 to a refresh
		// token that they cannot use any more, each time, and a new login mends that.
		return a.begin()
	case !s.in(l.o.Groups):
		return a.refuse(403, policy.ErrAuthDenied.Code, "you are logged in, and in none of the groups that may come in here; to log out: "+l.o.LogoutPath)
	}
	a.tell(s)
	return false
}

// originOf is the scheme, host and port that a browser has asked.
func originOf(host string, secure bool) string {
	host = strings.ToLower(host)
	if secure {
		return "https://" + strings.TrimSuffix(host, ":443")
	}
	return "http://" + strings.TrimSuffix(host, ":80")
}

// current returns the session as the cookies have it, nil for none that counts.
func (a *asking) current() *session {
	sealed := a.cookies.session()
	if sealed == "" {
		return nil
	}
	s := a.l.openSession(sealed, a.host)
	switch {
	case s == nil:
		a.l.shared.forged.Add(1)
		return nil
	case s.over(a.now), a.l.shared.isRevoked(s.ID, a.now):
		return nil
	case s.Refresh == "" && !a.now.Before(s.due()):
		return nil
	}
	return s
}

// session returns the session, renewed where that is due; nil when there is none. It
// fails when only the provider could tell, and cannot.
func (a *asking) session() (*session, error) {
	l, s := a.l, a.current()
	if s == nil || a.now.Before(s.due().Add(l.spread(s))) || s.Refresh == "" {
		return s, nil
	}
	next, err := l.renew(a, s)
	late := a.now.Sub(s.due())
	switch {
	case err == nil:
		if l.shared.isRevoked(s.ID, time.Now()) { // a logout came meanwhile
			return nil, nil
		}
		if sealed, ok := l.sealSession(next, a.host); ok {
			a.keep(l.sessionFields(sealed, &a.cookies, a.secure, a.left(next))...)
		} else {
			l.shared.tooLarge.Add(1)
		}
		return next, nil
	case err == errGone:
		return nil, err
	case err == errRefused:
		if late < l.grace() {
			return s, nil // another node may have renewed it: the browser has got another cookie by now
		}
		return nil, nil
	case late < l.o.Stale: // the provider is away, or busy
		if err == errBusy || err == errClientBusy {
			l.shared.limited.Add(1)
		}
		return s, nil
	}
	return nil, err
}

// left is how long a session has to live.
func (a *asking) left(s *session) time.Duration { return time.Unix(s.Ends, 0).Sub(a.now) }

// tell has the instance told of the user.
func (a *asking) tell(s *session) {
	learned := a.Learned()
	learned.Forget(a.l.owned)
	for _, f := range []struct {
		name  []byte
		value string
	}{{a.l.userField, s.User}, {a.l.emailField, s.Email}, {a.l.groupsField, s.groupsValue()}} {
		if f.value != "" {
			learned.Forward = append(learned.Forward, wire.Field{Name: f.name, Value: []byte(f.value)})
		}
	}
}

// navigates reports whether the request is a browser's that goes to a page: only such a
// one can be sent to the provider. The fields are those of the Fetch Metadata draft of the
// W3C; older browsers say it with what they accept.
func (a *asking) navigates() bool {
	head := a.Received()
	if string(head.Method) != "GET" || len(head.Upgrade) > 0 || a.prefetches() {
		return false
	}
	if mode := wire.Get(head.Fields, "sec-fetch-mode"); mode != nil {
		return string(mode) == "navigate"
	}
	return wire.Get(head.Fields, "x-requested-with") == nil && strings.Contains(strings.ToLower(string(wire.Get(head.Fields, "accept"))), "text/html")
}

// prefetches reports whether the browser fetches what nobody may come to see.
func (a *asking) prefetches() bool {
	for _, name := range []string{"sec-purpose", "purpose"} {
		if strings.Contains(string(wire.Get(a.Received().Fields, name)), "prefetch") {
			return true
		}
	}
	return false
}

// begin sends the browser to the provider.
func (a *asking) begin() (answered bool) {
	l := a.l
	if !a.navigates() {
		a.reply.Fields = append(a.reply.Fields, l.challenge)
		return a.refuse(401, policy.ErrAuthRequired.Code, "this needs a login: open the page in a browser, or load it again")
	}
	leave, err := l.places.Enter(a.client())
	if err != nil {
		return a.unable(err)
	}
	defer leave()
	var m *metadata
	a.Wait(func(gone <-chan struct{}) { m, err = l.provider.metadata(gone) })
	if err != nil {
		return a.unable(err)
	}
	oldest, stay := l.room(&a.cookies, a.host)
	t := newAttempt(l.shared.begun.Add(1), stay, a.now, targetOf(a.Received().Target), a.origin+l.o.CallbackPath)
	options := []oauth2.AuthCodeOption{oidclib.Nonce(t.Nonce), oauth2.S256ChallengeOption(t.Verifier)}
	for _, p := range l.o.Parameters {
		name, value, _ := strings.Cut(p, "=")
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	for _, key := range oldest {
		if key != t.key() { // a field sets each cookie once (RFC 6265 section 4.1.1)
			a.keep(setCookie(l.attemptName(a.secure, key), "", a.secure, 0))
		}
	}
	a.keep(setCookie(l.attemptName(a.secure, t.key()), l.sealAttempt(t, a.host), a.secure, l.shared.limits.LoginTime))
	return a.redirect(l.provider.config(m, t.Redirect).AuthCodeURL(t.State, options...))
}

// redirect sends the browser elsewhere.
func (a *asking) redirect(to string) (answered bool) {
	a.reply.Status, a.reply.Reason, a.reply.Body = 302, policy.ErrAuthLogin.Code, []byte{}
	if string(a.Received().Method) == "POST" {
		a.reply.Status = 303
	}
	a.add("Location", to)
	a.add("Cache-Control", "no-store")
	a.add("Referrer-Policy", "no-referrer")
	return true
}

// keep has the browser keep cookies, whatever the answer is.
func (a *asking) keep(cookies ...wire.Field) {
	learned := a.Learned()
	learned.Answer = append(learned.Answer, cookies...)
}

func (a *asking) add(name, value string) {
	a.reply.Fields = append(a.reply.Fields, wire.Field{Name: []byte(name), Value: []byte(value)})
}

func (a *asking) refuse(status int, reason, detail string) (answered bool) {
	a.reply.Status, a.reply.Reason, a.reply.Detail = status, reason, detail
	return true
}

// unable answers that it cannot be known who the client is.
func (a *asking) unable(err error) (answered bool) {
	switch {
	case errors.Is(err, errClientBusy), errors.Is(err, errTooOften):
		a.l.shared.limited.Add(1)
		a.add("Retry-After", "1") // others with 503 have it
		return a.refuse(429, policy.ErrAuthBusy.Code, err.Error())
	case errors.Is(err, errBusy):
		a.l.shared.limited.Add(1)
		return a.refuse(503, policy.ErrAuthBusy.Code, err.Error())
	}
	return a.refuse(503, policy.ErrAuthUnavailable.Code, err.Error())
}
