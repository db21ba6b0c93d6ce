package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"serai/nomad"
	"serai/policy/auth/oidc/oidctest"
)

// TestConnectionRemovesNothingOfAuths: a client cannot name what an auth tells the instance
// in Connection, which has proxies remove fields that are about one connection alone
// (RFC 9110 section 7.6.1): the instance would take the request for nobody's.
func TestConnectionRemovesNothingOfAuths(t *testing.T) {
	t.Parallel()
	i, issuer, p := newGuardedInstance(t), newTokenIssuer(t), oidctest.New(t, callbackURL)
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Remote-User", "ann") }))
	t.Cleanup(asked.Close)
	config := configOf(t, issuer.block("")+loginBlock(t, "corp", p, secretFile(t, "keys", newCookieKey()), "")+
		fmt.Sprintf("auth \"staff\" {\n  basic {\n    users_file = %q\n  }\n}\nauth \"sso\" {\n  forward {\n    url = %q\n    copy = [\"Remote-User\"]\n  }\n}\n", usersFile(t, "ann:pw"), asked.URL))
	tags := []string{"ingress.auth=corp"}
	for _, name := range []string{"api", "staff", "sso"} {
		tags = append(tags, "ingress."+name+".host="+authHost, "ingress."+name+".path=/"+name, "ingress."+name+".auth="+name)
	}
	_, address := serveStatic(t, []nomad.Registration{i.registration(tags...)}, config, behindProxy)
	h := webClients(t, address)["HTTP/1"]
	b := newBrowser(t, p, h)
	if a := b.visit("/", "ann"); a.status != 200 {
		t.Fatalf("answered %d %s", a.status, a.body)
	}
	for _, c := range []struct{ path, field, told, want string }{
		{"/", "Cookie: __Host-serai-corp=" + b.cookie("__Host-serai-corp"), "X-Forwarded-User", "id-ann"},
		{"/api", bearer(issuer.token(t, nil)), "X-User", "ann"},
		{"/staff", login("ann", "pw"), "X-Forwarded-User", "ann"},
		{"/sso", "Cookie: a=b", "Remote-User", "ann"},
	} {
		for _, connection := range []string{c.told, "close, " + c.told, "Cookie, Authorization, X-Forwarded-Proto, " + c.told} {
			until(t, "an answer of "+c.path, func() bool { // keys may not be there yet
				return request(t, h, "GET", c.path, c.field, overHTTPS).status == 200
			})
			before := i.count()
			a := request(t, h, "GET", c.path, c.field, overHTTPS, "Connection: "+connection, c.told+": root")
			if i.count() == before {
				if a.status == 200 {
					t.Errorf("%s with Connection: %s: answered %d", c.path, connection, a.status)
				}
				continue // it is refused, which is as good
			}
			if got := i.last()[http.CanonicalHeaderKey(c.told)]; a.status != 200 || !slices.Equal(got, []string{c.want}) {
				t.Errorf("%s with Connection: %s: answered %d, the instance is told %q", c.path, connection, a.status, got)
			}
		}
	}
}
