package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// reloaded is a serai whose config file is written again and again, up to rounds times.
type reloaded struct {
	t             *testing.T
	path, address string
	round         int
}

const rounds = 6

func serveReloaded(t *testing.T, text string, flags []string, regs ...nomad.Registration) *reloaded {
	t.Helper()
	marks := instance(t, "marks")
	for n := range rounds {
		marks.Tags = append(marks.Tags, fmt.Sprintf("ingress.r%d.host=r%d.test", n, n), fmt.Sprintf("ingress.r%d.policies=r%d", n, n))
	}
	config := configOf(t, text)
	_, address := serveStatic(t, append(regs, marks), append([]string{config}, flags...)...)
	return &reloaded{t: t, path: strings.TrimPrefix(config, "--config="), address: address}
}

// write writes another file, and waits until it is in force: it has a policy that no file had
// before it.
func (r *reloaded) write(text string) {
	r.t.Helper()
	replaceFile(r.t, r.path, text+denies(fmt.Sprintf("r%d", r.round)))
	(&configured{t: r.t, traffic: r.address}).becomes(fmt.Sprintf("r%d.test", r.round), 403)
	r.round++
}

// withAuthorities has a block name another file of CAs.
func withAuthorities(block, path string) string {
	before, rest, _ := strings.Cut(block, "ca_file = \"")
	_, behind, _ := strings.Cut(rest, "\"")
	return before + "ca_file = \"" + path + "\"" + behind
}

func away(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// TestReloadWhileTheProviderIsAway: a block that is written anew knows what the provider has
// said of itself, and with which keys it signs, as long as it is the same provider.
func TestReloadWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	keys := secretFile(t, "keys", newCookieKey())
	r := serveReloaded(t, loginBlock(t, "corp", p, keys, ""), []string{behindProxy}, i.registration("ingress.auth=corp"))
	clients := webClients(t, r.address)
	if a := newBrowser(t, p, clients["HTTP/1"]).visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	p.Fail("/.well-known/openid-configuration", away)
	p.Fail("/keys", away)
	for _, more := range []string{
		"    groups = [\"dev\"]\n", "    timeout = \"6s\"\n    max_inflight = 7\n", "    scopes = [\"profile\"]\n    callback_path = \"/.serai/oidc/corp/callback\"\n",
	} {
		r.write(loginBlock(t, "corp", p, keys, more))
		for name, h := range clients {
			if a := newBrowser(t, p, h).visit("/", "ann"); a.body != "for id-ann" {
				t.Errorf("%s, after a change to%s a login is answered %d %s", name, more, a.status, a.body)
			}
		}
	}
	// Two auths with one provider: what one has learned the other knows, too.
	r.write(loginBlock(t, "corp", p, keys, "") + loginBlock(t, "other", p, keys, ""))
	if a := newBrowser(t, p, clients["HTTP/1"]).visit("/", "ann"); a.status != 200 {
		t.Errorf("beside another auth a login is answered %d", a.status)
	}
	// With other CAs it may be another server that answers: nothing is believed any more.
	r.write(withAuthorities(loginBlock(t, "corp", p, keys, ""), secretFile(t, "ca.pem", string(p.CA)+"\n")))
	for name, h := range clients {
		b := newBrowser(t, p, h)
		if a := b.send(b.navigation("GET", "https://"+authHost+"/", nil)); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
			t.Errorf("%s, with other CAs a page is answered %d", name, a.status)
		}
	}
	p.Fail("/.well-known/openid-configuration", nil)
	p.Fail("/keys", nil)
	until(t, "the provider", func() bool { return newBrowser(t, p, clients["HTTP/1"]).visit("/", "ann").status == 200 })
}

// TestKeysOfTheProviderAreAway: a login that cannot be checked is nobody's fault, and a session
// that the provider renews goes on where the keys cannot be had, with its new refresh token.
func TestKeysOfTheProviderAreAway(t *testing.T) {
	t.Parallel()
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	keys := secretFile(t, "keys", newCookieKey())
	const more = "    scopes = [\"profile\", \"email\", \"offline_access\"]\n    renew = \"1s\"\n"
	block := loginBlock(t, "corp", p, keys, more)
	r := serveReloaded(t, block, []string{behindProxy}, i.registration("ingress.auth=corp"))
	clients := webClients(t, r.address)
	for what, fault := range map[string]http.HandlerFunc{
		"no answer": away, "an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
	} {
		p.Fail("/keys", fault)
		for name, h := range clients {
			if a := newBrowser(t, p, h).visit("/", "ann"); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
				t.Errorf("%s, %s for keys: a login is answered %d %s", name, what, a.status, a.body)
			}
		}
	}
	p.Fail("/keys", nil)
	b := newBrowser(t, p, clients["HTTP/2"])
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	p.Fail("/keys", away)
	r.write(withAuthorities(block, secretFile(t, "ca.pem", string(p.CA)+"\n"))) // which knows no keys
	renewed := p.Asked("/oauth/token")
	until(t, "three renewals", func() bool {
		if a := b.xhr("/"); a.body != "for id-ann" {
			t.Fatalf("while the keys are away the session is answered %d %s", a.status, a.body)
		}
		return p.Asked("/oauth/token")-renewed >= 3
	})
}

// TestReloadWhileTheIssuerIsAway: a jwt block that is written anew knows the keys that the one
// before has fetched from the same place.
func TestReloadWhileTheIssuerIsAway(t *testing.T) {
	t.Parallel()
	i, issuer := newGuardedInstance(t), newTokenIssuer(t)
	r := serveReloaded(t, issuer.block(""), nil, i.registration("ingress.auth=api"))
	clients, good := webClients(t, r.address), issuer.token(t, nil)
	until(t, "keys", func() bool { return request(t, clients["HTTP/1"], "GET", "/", bearer(good)).status == 200 })
	issuer.serves(nil)
	for _, more := range []string{"refresh = \"10m\"", "timeout = \"2s\"", "refresh = \"10m\"\nmax_token = 4096"} {
		r.write(issuer.block(more))
		for name, h := range clients {
			if a := request(t, h, "GET", "/", bearer(good)); a.status != 200 {
				t.Errorf("%s, after a change to %s a token is answered %d %s", name, more, a.status, a.fields.Get("X-Serai-Reason"))
			}
		}
	}
	r.write(strings.Replace(issuer.block(""), "/keys?x=hidden", "/keys?x=other", 1))
	for name, h := range clients {
		if a := request(t, h, "GET", "/", bearer(good)); a.status != 503 {
			t.Errorf("%s, with another URL a token is answered %d", name, a.status)
		}
	}
}

// TestEmptyAuthorities: a file of certificates that is empty is an error, and does not stand
// for the CAs of the system.
func TestEmptyAuthorities(t *testing.T) {
	i, p := newTokenIssuer(t), oidctest.New(t, callbackURL)
	for _, block := range []string{i.block(""), loginBlock(t, "corp", p, secretFile(t, "keys", newCookieKey()), "")} {
		for _, content := range []string{"", "\n"} {
			_, err := readText(t, withAuthorities(block, secretFile(t, "empty", content)))
			if err == nil || !strings.Contains(err.Error(), "ca_file cannot be used: there is no certificate in it") {
				t.Errorf("%q in %s: %v", content, block, err)
			}
		}
	}
}
