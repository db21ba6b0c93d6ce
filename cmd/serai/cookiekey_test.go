package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"serai/internal/testdoc"
	"serai/nomad"
	"serai/nomad/nomadtest"
	"serai/policy/auth/oidc/oidctest"
)

// TestCookieKeyVariable: two nodes follow the key that a variable has. While nobody knows it
// nobody gets in; a key that is added logs nobody out, on whichever node, and one that is
// taken away, or all, do.
func TestCookieKeyVariable(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	const path = "serai/auth/corp"
	i, p := newGuardedInstance(t), oidctest.New(t, callbackURL)
	file := filepath.Join(t.TempDir(), "services.json")
	writeServices(t, file, i.registration("ingress.auth=corp"))
	config := fmt.Sprintf("auth \"corp\" {\n  oidc {\n    issuer = %q\n    client_id = %q\n    client_secret_variable = %q\n    cookie_key_variable = %q\n    ca_file = %q\n  }\n}\n",
		p.URL, oidctest.ClientID, path, path, secretFile(t, "ca.pem", string(p.CA)))
	first, second := serveConfig(t, url, config, "--services="+file, behindProxy), serveConfig(t, url, config, "--services="+file, behindProxy)
	h1, h2 := webClients(t, first.traffic)["HTTP/1"], webClients(t, second.traffic)["HTTP/2"]
	older, newer := newCookieKey(), newCookieKey()
	put := func(keys string) {
		putVariable(t, url, path, map[string]string{"client_secret": oidctest.ClientSecret, "cookie_key": keys})
	}
	both := func(what string, holds func(h *http.Client) bool) {
		t.Helper()
		for _, h := range []*http.Client{h1, h2} {
			until(t, what, func() bool { return holds(h) })
		}
	}
	closed := func(a got) bool { return a.status == 503 && a.fields.Get("X-Serai-Reason") == "auth-unavailable" }
	both("nobody to get in", func(h *http.Client) bool { return closed(newBrowser(t, p, h).visit("/", "ann")) })
	if n := p.Asked("/authorize"); n > 0 || i.count() > 0 {
		t.Errorf("without a key the provider was asked %d times, the instance %d times", n, i.count())
	}
	put(older)
	both("ann to log in", func(h *http.Client) bool { return newBrowser(t, p, h).visit("/", "ann").status == 200 })
	ann := newBrowser(t, p, h1)
	ann.visit("/", "ann")

	// Another node has the newer key alone: its cookies tell whether the two know it.
	_, third := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=corp")},
		configOf(t, loginBlock(t, "corp", p, secretFile(t, "keys", newer), "")), behindProxy)
	bob := newBrowser(t, p, webClients(t, third)["HTTP/1"])
	if a := bob.visit("/", "bob"); a.body != "for id-bob" {
		t.Fatalf("bob is answered %d %s", a.status, a.body)
	}
	put(newer + "\n" + older + "\n")
	know := func(h *http.Client) bool { return bob.copy(h).xhr("/").body == "for id-bob" }
	until(t, "both nodes to know the newer key", func() bool {
		all := know(h1) && know(h2)
		for _, pair := range [][2]*http.Client{{h1, h2}, {h2, h1}} {
			carl := newBrowser(t, p, pair[0])
			carl.visit("/", "ann")
			if a := carl.on(pair[1]).xhr("/"); a.body != "for id-ann" {
				t.Fatalf("who has logged in at one node is answered %d by the other", a.status)
			}
			if a := ann.on(pair[1]).xhr("/"); a.body != "for id-ann" {
				t.Fatalf("ann, who was logged in before, is answered %d", a.status)
			}
		}
		return all
	})

	put("c2hvcnQ=\n")
	for _, c := range []*configured{first, second} {
		until(t, "a warning", func() bool {
			_, body := get(c.admin, "localhost", "/ready")
			return strings.Contains(body, "line 1 is not 32 bytes") && strings.Contains(body, "the last good version is in force")
		})
	}
	if !know(h1) || !know(h2) {
		t.Error("a key that is none has ended sessions")
	}
	put(newer)
	both("the end of what the older key has sealed", func(h *http.Client) bool { return ann.copy(h).xhr("/").status == 401 })
	if !know(h1) || !know(h2) {
		t.Error("with the older key sessions have ended that the newer one has sealed")
	}
	putVariable(t, url, path, nil)
	both("all to be locked out", func(h *http.Client) bool { return closed(bob.copy(h).xhr("/")) })
	for _, h := range []*http.Client{h1, h2} {
		if a := newBrowser(t, p, h).visit("/", ""); !closed(a) {
			t.Errorf("after the key was deleted, a page is answered %d", a.status)
		}
	}
	put(newer)
	both("bob to be in again", know)
	for _, c := range []*configured{first, second} {
		_, ready := get(c.admin, "localhost", "/ready")
		if all := c.stderr.String() + ready; strings.Contains(all, older) || strings.Contains(all, newer) || strings.Contains(all, "c2hvcnQ") {
			t.Error("the log or /ready has a key")
		}
	}
}

// TestConfigGoldens holds what is made of the files in testdata/config, or what is wrong with
// them and where, to what is written beside them.
func TestConfigGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/config/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no files", err)
	}
	for _, file := range files {
		var b strings.Builder
		c, err := readConfig(file, nil, nil)
		var joined interface{ Unwrap() []error }
		switch {
		case errors.As(err, &joined):
			var lines []string
			for _, one := range joined.Unwrap() {
				lines = append(lines, one.Error()+"\n")
			}
			slices.Sort(lines)
			b.WriteString(strings.Join(lines, ""))
		case err != nil:
			fmt.Fprintln(&b, err)
		default:
			for _, s := range c.named.secretsOf() {
				fmt.Fprintf(&b, "%s needs item %s of variable %s\n", s.Owner, s.Item, s.Path)
			}
			for _, a := range c.named.auths {
				fmt.Fprintln(&b, a.Check.Explain())
			}
		}
		testdoc.HoldFile(t, strings.TrimSuffix(file, ".hcl")+".txt", b.String(), *update)
	}
}
