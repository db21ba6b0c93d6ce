package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/keys/keystest"
)

// tokenIssuer is a server of keys, over TLS, and who has the private ones.
type tokenIssuer struct {
	*httptest.Server
	ca  string // path of its certificate
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey

	asked    atomic.Int64
	hangs    atomic.Bool
	document atomic.Pointer[[]byte] // empty for an error
	stop     chan struct{}
}

func newTokenIssuer(t *testing.T) *tokenIssuer {
	t.Helper()
	i := &tokenIssuer{ec: keystest.EC(t), rsa: keystest.RSA(t, 2048), stop: make(chan struct{})}
	i.serves(keystest.Document(t, keystest.JWK(t, i.ec, map[string]any{"kid": "e", "use": "sig", "alg": "ES256"}), keystest.JWK(t, i.rsa, map[string]any{"kid": "r"})))
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		if i.hangs.Load() {
			select {
			case <-i.stop:
			case <-r.Context().Done():
			}
		}
		if d := *i.document.Load(); len(d) > 0 {
			w.Write(d)
		} else {
			w.WriteHeader(500)
		}
	}))
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.StartTLS()
	t.Cleanup(i.Close)
	t.Cleanup(func() { close(i.stop) })
	i.ca = filepath.Join(t.TempDir(), "ca.pem")
	replaceFile(t, i.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})))
	return i
}

func (i *tokenIssuer) serves(document []byte) { i.document.Store(&document) }

const tokenAudience = "shop"

// config is a file with an auth "api", and more of its block.
func (i *tokenIssuer) config(t *testing.T, more string) string {
	return configOf(t, i.block(more))
}

func (i *tokenIssuer) block(more string) string {
	return fmt.Sprintf("auth \"api\" {\n  jwt {\n    issuer = \"https://issuer.test\"\n    audience = [%q]\n    jwks_url = %q\n    ca_file = %q\n    forward = { X-User = \"sub\", X-Groups = \"groups\" }\n%s\n  }\n}\n", tokenAudience, i.URL+"/keys?x=hidden", i.ca, more)
}

// tokenClaims are those of a token that is right, changed; nil takes one away.
func tokenClaims(more map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{"iss": "https://issuer.test", "aud": tokenAudience, "sub": "ann", "exp": now + 3600, "groups": []string{"a", "b"}}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

func (i *tokenIssuer) token(t testing.TB, more map[string]any) string {
	return keystest.Sign(t, keystest.Head("ES256", "e"), tokenClaims(more), i.ec)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// TestTokens: over both engines, what is signed for us gets in, with what it claims in
// place of what the client says of itself; all else is told what is wrong, and reaches
// no instance. The names begin with the sections of RFC 8725.
func TestTokens(t *testing.T) {
	t.Parallel()
	i, issuer := newGuardedInstance(t), newTokenIssuer(t)
	admin := testnet.Address(t)
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, issuer.config(t, ""), "--admin="+admin, "--log-level=DEBUG")
	until(t, "keys", func() bool { return strings.HasSuffix(metric(admin, `serai_auth_keys{`), " 2\n") })
	asked := issuer.asked.Load()

	good, public := issuer.token(t, nil), &issuer.rsa.PublicKey
	part := strings.Split(good, ".")
	head := func(more map[string]any) map[string]any {
		h := keystest.Head("ES256", "e")
		maps.Copy(h, more)
		return h
	}
	signed := func(head any, private any) string { return keystest.Sign(t, head, tokenClaims(nil), private) }
	own := keystest.EC(t)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hs := map[string]any{"alg": "HS256", "kid": "r", "typ": "JWT"}
	bad := map[string]string{
		"3.1 none":                      signed(map[string]any{"alg": "none"}, nil),
		"3.1 none with a signature":     signed(map[string]any{"alg": "none", "kid": "e"}, issuer.ec),
		"3.1 NONE":                      signed(map[string]any{"alg": "NONE", "kid": "e"}, issuer.ec),
		"3.1 no algorithm":              signed(map[string]any{"kid": "e"}, issuer.ec),
		"3.1 HS256 with the PEM":        signed(hs, asPEM),
		"3.1 HS256 with the DER":        signed(hs, der),
		"3.1 HS256 with the modulus":    signed(hs, public.N.Bytes()),
		"3.1 HS256 with the document":   signed(hs, *issuer.document.Load()),
		"3.1 HS256 with nothing":        signed(hs, []byte{}),
		"3.1 RS256 with the EC key":     signed(map[string]any{"alg": "RS256", "kid": "e"}, issuer.ec),
		"3.1 ES256 with the RSA key":    signed(map[string]any{"alg": "ES256", "kid": "r"}, issuer.rsa),
		"3.2 an algorithm of nobody":    signed(map[string]any{"alg": "XS256", "kid": "e"}, issuer.ec),
		"3.3 unsigned":                  part[0] + "." + part[1] + ".",
		"3.3 another payload":           part[0] + "." + keystest.B64([]byte(`{"iss":"https://issuer.test","aud":"shop","sub":"root","exp":9999999999}`)) + "." + part[2],
		"3.3 r and s are 0":             part[0] + "." + part[1] + "." + keystest.B64(make([]byte, 64)),
		"3.3 the key of another":        signed(head(nil), own),
		"3.3 a token in a token":        keystest.Sign(t, head(map[string]any{"cty": "JWT"}), good, issuer.ec),
		"3.4 an unknown kid":            signed(head(map[string]any{"kid": "x"}), issuer.ec),
		"3.6 compressed":                signed(head(map[string]any{"zip": "DEF"}), issuer.ec),
		"3.6 encrypted":                 keystest.B64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","zip":"DEF","p2c":2000000000,"p2s":"AAAA"}`)) + ".a.a.a.a",
		"3.7 no UTF-8":                  keystest.Sign(t, head(nil), "{\"iss\":\"https://issuer.test\",\"aud\":\"shop\",\"exp\":9999999999,\"sub\":\"\xff\"}", issuer.ec),
		"3.8 another issuer":            issuer.token(t, map[string]any{"iss": "https://issuer.test.evil.test"}),
		"3.8 no issuer":                 issuer.token(t, map[string]any{"iss": nil}),
		"3.9 another audience":          issuer.token(t, map[string]any{"aud": "shop2"}),
		"3.9 no audience":               issuer.token(t, map[string]any{"aud": nil}),
		"3.9 an empty audience":         issuer.token(t, map[string]any{"aud": []string{"", ""}}),
		"3.10 kid with a path":          signed(head(map[string]any{"kid": "../../../../dev/null"}), []byte{}),
		"3.10 kid with SQL":             signed(head(map[string]any{"kid": "e' OR '1'='1"}), issuer.ec),
		"3.10 kid with a command":       signed(head(map[string]any{"kid": "e;sleep 10"}), issuer.ec),
		"3.10 jwk":                      signed(map[string]any{"alg": "ES256", "jwk": keystest.JWK(t, own, nil)}, own),
		"3.10 jku":                      signed(head(map[string]any{"kid": "own", "jku": issuer.URL + "/own"}), own),
		"3.10 x5u":                      signed(head(map[string]any{"kid": "own", "x5u": issuer.URL + "/own"}), own),
		"3.10 x5c":                      signed(head(map[string]any{"x5c": []string{"AAAA"}}), own),
		"3.11 for DPoP":                 signed(head(map[string]any{"typ": "dpop+jwt"}), issuer.ec),
		"3.11 of a logout":              signed(head(map[string]any{"typ": "logout+jwt"}), issuer.ec),
		"3.12 crit":                     signed(head(map[string]any{"crit": []string{"exp"}}), issuer.ec),
		"3.12 b64":                      signed(head(map[string]any{"crit": []string{"b64"}, "b64": false}), issuer.ec),
		"expired":                       issuer.token(t, map[string]any{"exp": 1}),
		"no expiry":                     issuer.token(t, map[string]any{"exp": nil}),
		"expires as text":               issuer.token(t, map[string]any{"exp": "9999999999"}),
		"not yet":                       issuer.token(t, map[string]any{"nbf": time.Now().Unix() + 600}),
		"a claim twice":                 keystest.Sign(t, head(nil), `{"iss":"https://issuer.test","aud":"evil","aud":"shop","exp":9999999999}`, issuer.ec),
		"a claim twice, escaped":        keystest.Sign(t, head(nil), `{"iss":"https://issuer.test","aud":"shop","exp":9999999999,"sub":"ann","\u0073ub":"root"}`, issuer.ec),
		"a huge number":                 keystest.Sign(t, head(nil), `{"iss":"https://issuer.test","aud":"shop","exp":1e999}`, issuer.ec),
		"NaN":                           keystest.Sign(t, head(nil), `{"iss":"https://issuer.test","aud":"shop","exp":NaN}`, issuer.ec),
		"deep":                          keystest.Sign(t, head(nil), `{"iss":"https://issuer.test","aud":"shop","exp":9999999999,"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`, issuer.ec),
		"JSON serialization":            `{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`,
		"CVE-2022-39227, two in one":    `{"` + part[0] + `.` + part[1] + `.` + part[2] + `":"","protected":"` + part[0] + `"}`,
		"two tokens":                    good + ", Bearer " + good,
		"padding":                       good + "=",
		"dots":                          strings.Repeat(".", 8000),
		"long":                          issuer.token(t, map[string]any{"x": strings.Repeat("x", 9000)}),
		"a claim that is too long":      issuer.token(t, map[string]any{"sub": strings.Repeat("ü", 1000)}),
		"markup":                        "<script>alert(1)</script>",
		"what could end a quoted text":  `a", error="x`,
		"CVE-2020-26160, no audience":   issuer.token(t, map[string]any{"aud": []string{}}),
		"CVE-2022-21449, with the kid":  part[0] + "." + part[1] + "." + strings.Repeat("A", 86),
		"CVE-2018-0114, with our kid":   signed(head(map[string]any{"jwk": keystest.JWK(t, own, map[string]any{"kid": "e"})}), own),
		"CVE-2015-9235, HS384 with RSA": signed(map[string]any{"alg": "HS384", "kid": "r"}, asPEM),
	}
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			before := i.count()
			for what, token := range bad {
				a := request(t, h, "GET", "/", bearer(token), "Cookie: token="+good)
				challenge := a.fields.Get("Www-Authenticate")
				if a.status != 401 || !strings.HasPrefix(challenge, `Bearer realm="api"`) || a.fields.Get("X-Serai-Reason") != "auth-required" || !strings.Contains(challenge, `error="invalid_token"`) {
					t.Errorf("%s: %d with %v", what, a.status, a.fields)
				}
				if strings.Contains(a.body+challenge, "<script") || strings.Contains(a.body+challenge, "evil") {
					t.Errorf("%s: the answer has what was sent: %s", what, a.body)
				}
			}
			for what, fields := range map[string][]string{"two fields": {bearer(good), bearer(good)}, "two schemes": {login("ann", "x"), bearer(good)}} {
				if a := request(t, h, "GET", "/", fields...); a.status != 400 || !strings.Contains(a.fields.Get("Www-Authenticate"), `error="invalid_request"`) {
					t.Errorf("%s: %d with %v", what, a.status, a.fields)
				}
			}
			for what, fields := range map[string][]string{"none": nil, "Basic": {login("ann", "x")}} {
				if a := request(t, h, "GET", "/?access_token="+good, fields...); a.status != 401 || a.fields.Get("Www-Authenticate") != `Bearer realm="api"` {
					t.Errorf("%s: %d with %v", what, a.status, a.fields)
				}
			}
			if n := i.count() - before; n != 0 {
				t.Errorf("%d requests reached the instance", n)
			}
			for range 2 { // the second one is known
				for _, token := range []string{good, signed(map[string]any{"alg": "RS256", "kid": "r"}, issuer.rsa), signed(map[string]any{"alg": "ES256"}, issuer.ec)} {
					r, err := http.NewRequest("POST", "http://"+authHost+"/", strings.NewReader("body"))
					if err != nil {
						t.Fatal(err)
					}
					r.ContentLength = -1
					r.Trailer = http.Header{"X-User": {"trailer"}, "X_user": {"trailer"}, "X-Own": {"kept"}}
					a := do(t, h, r, bearer(token), "X-User: root", "x_user: root", "X.USER: root", "X-Groups: admins", "X_Groups: admins")
					if a.status != 200 {
						t.Fatalf("answered %d %s", a.status, a.body)
					}
					got := i.last()
					for field, values := range got {
						plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(field))
						if plain == "x-user" && !slices.Equal(values, []string{"ann"}) || plain == "x-groups" && !slices.Equal(values, []string{"a,b"}) {
							t.Errorf("the instance is told %s: %q", field, values)
						}
					}
					if got.Get("X-User") != "ann" || got.Get("Authorization") != "Bearer "+token || got.Get("X-Own") != "kept" {
						t.Errorf("the instance is told %v", got)
					}
				}
			}
		})
	}
	if n := issuer.asked.Load() - asked; n > 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
	for _, where := range []string{"/explain?host=" + authHost, "/routes", "/metrics", "/ready"} {
		if _, body := get(admin, "localhost", where); strings.Contains(body, "hidden") || strings.Contains(body, part[2]) {
			t.Errorf("%s tells a secret", where)
		}
	}
	if log := p.stderr.String(); strings.Contains(log, part[2]) || strings.Contains(log, "hidden") {
		t.Error("the log has a token, or the whole URL of the keys")
	}
	if _, body := get(admin, "localhost", "/explain?host="+authHost+"&path=/"); !strings.Contains(body, "asks for a token of https://issuer.test for shop, with keys from "+issuer.URL) {
		t.Errorf("/explain says %s", body)
	}
}

// TestTokenOptions: claims that are needed, other places, and whether the instance gets
// the token.
func TestTokenOptions(t *testing.T) {
	t.Parallel()
	i, issuer := newGuardedInstance(t), newTokenIssuer(t)
	for _, c := range []struct {
		block, field string // $ is the token
		claims       map[string]any
		status       int
		gets         string // of the field
	}{
		{"claims {\n groups = [\"x\", \"b\"]\n sub = \"ann\"\n }", "Authorization: Bearer $", nil, 200, "Bearer $"},
		{"claims = { groups = [\"x\"] }", "Authorization: Bearer $", nil, 403, ""},
		{"claims = { \"realm_access.roles\" = \"admin\" }", "Authorization: Bearer $", map[string]any{"realm_access": map[string]any{"roles": []string{"admin"}}}, 200, "Bearer $"},
		{"claims = { email_verified = true }", "Authorization: Bearer $", map[string]any{"email_verified": false}, 403, ""},
		{"keep = false", "Authorization: Bearer $", nil, 200, ""},
		{"header = \"X-Assertion\"", "X-Assertion: $", nil, 200, "$"},
		{"header = \"X-Assertion\"\n keep = false", "X-Assertion: $", nil, 200, ""},
		{"header = \"X-Assertion\"", "Authorization: Bearer $", nil, 401, ""},
		{"cookie = \"session\"", "Cookie: a=b; session=$", nil, 200, "a=b; session=$"},
		{"types = [\"at+jwt\"]", "Authorization: Bearer $", nil, 401, ""},
		{"clock_skew = \"1s\"", "Authorization: Bearer $", map[string]any{"exp": time.Now().Unix() - 20}, 401, ""},
		{"clock_skew = \"5m\"", "Authorization: Bearer $", map[string]any{"exp": time.Now().Unix() - 20}, 200, "Bearer $"},
		{"max_token = 256", "Authorization: Bearer $", nil, 401, ""},
		{"algorithms = [\"RS256\"]", "Authorization: Bearer $", nil, 401, ""},
	} {
		t.Run(c.block, func(t *testing.T) {
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, issuer.config(t, c.block))
			token := issuer.token(t, c.claims)
			for name, h := range webClients(t, address) {
				a := request(t, h, "GET", "/", strings.ReplaceAll(c.field, "$", token))
				if a.status != c.status {
					t.Errorf("%s: answered %d with %v", name, a.status, a.fields)
					continue
				}
				if c.status == 403 && (!strings.Contains(a.fields.Get("Www-Authenticate"), `error="insufficient_scope"`) || a.fields.Get("X-Serai-Reason") != "auth-denied") {
					t.Errorf("%s: answered with %v", name, a.fields)
				}
				field, _, _ := strings.Cut(c.field, ":")
				if want := strings.ReplaceAll(c.gets, "$", token); c.status == 200 && strings.Join(i.last().Values(field), "; ") != want {
					t.Errorf("%s: the instance gets %s: %q", name, field, i.last().Values(field))
				}
			}
		})
	}
}

// TestKeyFileIsFollowed: keys that stand in a file count from when they do, a broken file
// changes nothing and is told, and with another key no token is known any more. A secret
// works the same way.
func TestKeyFileIsFollowed(t *testing.T) {
	t.Parallel()
	i, admin := newGuardedInstance(t), testnet.Address(t)
	first, second := keystest.EC(t), keystest.EC(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	document := func(keys ...*ecdsa.PrivateKey) string {
		var all []map[string]any
		for _, k := range keys {
			all = append(all, keystest.JWK(t, k, map[string]any{"kid": "k"}))
		}
		return string(keystest.Document(t, all...))
	}
	replaceFile(t, file, document(first))
	config := configOf(t, fmt.Sprintf("auth \"api\" {\n  jwt {\n    issuer = \"https://issuer.test\"\n    audience = \"shop\"\n    jwks_file = %q\n  }\n}\n", file))
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, config, "--admin="+admin)
	h := webClients(t, address)["HTTP/2"]
	token := func(k *ecdsa.PrivateKey) string {
		return keystest.Sign(t, keystest.Head("ES256", "k"), tokenClaims(nil), k)
	}
	old, new := token(first), token(second)
	answers := func(token string) int { return request(t, h, "GET", "/", bearer(token)).status }
	if a, b := answers(old), answers(new); a != 200 || b != 401 {
		t.Fatalf("answered %d, %d", a, b)
	}
	for _, broken := range []string{"", "{", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0LWluLXRoZS1maWxlLXNlY3JldC1pbi10aGUtZmlsZQ"}]}`} {
		replaceFile(t, file, broken)
		until(t, "a complaint", func() bool {
			_, body := get(admin, "localhost", "/ready")
			return strings.Contains(body, "jwks_file cannot be used") && strings.Contains(p.stderr.String(), "jwks_file cannot be used")
		})
		if a, b := answers(old), answers(new); a != 200 || b != 401 {
			t.Errorf("after a broken file: %d, %d", a, b)
		}
	}
	if strings.Contains(p.stderr.String(), "c2VjcmV0") {
		t.Error("the log has a secret")
	}
	replaceFile(t, file, document(second, first))
	until(t, "the new key", func() bool { return answers(new) == 200 })
	if n := answers(old); n != 200 {
		t.Errorf("the old key beside it: %d", n)
	}
	replaceFile(t, file, document(second))
	until(t, "the end of the old key", func() bool { return answers(old) == 401 })
	if n := answers(new); n != 200 {
		t.Errorf("the new key: %d", n)
	}
}

// TestSecretOfTokens: HS256 works where the file has a secret and the block says so.
func TestSecretOfTokens(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	file, secret := filepath.Join(t.TempDir(), "keys.json"), []byte("a secret of at least thirty-two bytes")
	replaceFile(t, file, fmt.Sprintf(`{"keys":[{"kty":"oct","k":%q}]}`, keystest.B64(secret)))
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, configOf(t, fmt.Sprintf("auth \"api\" {\n  jwt {\n    issuer = \"https://issuer.test\"\n    audience = \"shop\"\n    jwks_file = %q\n    algorithms = [\"HS256\"]\n  }\n}\n", file)))
	h := webClients(t, address)["HTTP/1"]
	for want, private := range map[int]any{200: secret, 401: []byte("another secret of at least 32 bytes")} {
		if a := request(t, h, "GET", "/", bearer(keystest.Sign(t, map[string]any{"alg": "HS256"}, tokenClaims(nil), private))); a.status != want {
			t.Errorf("answered %d, want %d", a.status, want)
		}
	}
}

// TestServerOfKeysFails: without keys nobody is let in, and nobody waits longer than the
// timeout; then those of before stay while the server fails, which the metrics and /ready
// say.
func TestServerOfKeysFails(t *testing.T) {
	t.Parallel()
	i, issuer, admin := newGuardedInstance(t), newTokenIssuer(t), testnet.Address(t)
	issuer.hangs.Store(true)
	other := instance(t, "other", "ingress.host=other.example.org")
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api"), other}, issuer.config(t, ""), "--admin="+admin) // a handshake may take a second here
	clients := webClients(t, address)
	good := issuer.token(t, nil)
	for name, h := range clients {
		if a := request(t, h, "GET", "/", bearer(good)); a.status != 503 || a.fields.Get("X-Serai-Reason") != "auth-unavailable" {
			t.Errorf("%s: without keys: %d with %v", name, a.status, a.fields)
		}
		if a := request(t, h, "GET", "/"); a.status != 401 {
			t.Errorf("%s: without keys and a token: %d", name, a.status)
		}
	}
	if s, _ := get(address, "other.example.org", "/"); s != 200 || i.count() != 0 {
		t.Errorf("another route is answered %d; %d requests reached the guarded one", s, i.count())
	}
	until(t, "the warning", func() bool {
		status, body := get(admin, "localhost", "/ready")
		return status == 200 && strings.Contains(body, "auth api: its signing keys are not known, so it lets nobody in")
	})
	issuer.hangs.Store(false)
	until(t, "keys", func() bool { return request(t, clients["HTTP/1"], "GET", "/", bearer(good)).status == 200 })
	if m := metric(admin, "serai_auth_keys_failing"); !strings.HasSuffix(m, " 0\n") {
		t.Errorf("%q", m)
	}
	if m := metric(admin, "serai_auth_keys_age_seconds"); m == "" {
		t.Error("the age of the keys is not told")
	}
	if !strings.Contains(p.stderr.String(), "nobody is let in") || !strings.Contains(p.stderr.String(), "new signing keys") {
		t.Error("the log says nothing")
	}
}

// TestFloodOfTokens: 10,000 tokens with random kids have the keys fetched once, and those
// who have a good one notice nothing: not while the server hangs either.
func TestFloodOfTokens(t *testing.T) {
	t.Parallel()
	i, issuer, admin := newGuardedInstance(t), newTokenIssuer(t), testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, issuer.config(t, ""), "--admin="+admin)
	good := issuer.token(t, nil)
	h := webClients(t, address)["HTTP/1"]
	until(t, "keys", func() bool { return request(t, h, "GET", "/", bearer(good)).status == 200 })
	issuer.hangs.Store(true)
	asked, began := issuer.asked.Load(), time.Now()
	own := keystest.EC(t)
	var all sync.WaitGroup
	var sent atomic.Int64
	for name, h := range webClients(t, address) {
		for n := range 4 {
			all.Go(func() {
				for k := range 1250 {
					token := keystest.Sign(t, keystest.Head("ES256", fmt.Sprint(name, n, k)), tokenClaims(nil), own)
					r, err := http.NewRequest("GET", "http://"+authHost+"/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("Authorization", "Bearer "+token)
					res, err := h.Do(r)
					if err != nil {
						t.Error(err)
						return
					}
					res.Body.Close()
					if sent.Add(1); res.StatusCode == 200 {
						t.Errorf("answered %d", res.StatusCode)
						return
					}
				}
			})
		}
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	for n, done := 0, false; !done || n == 0; n++ {
		select {
		case <-over:
			done = true
		default:
		}
		if a := request(t, h, "GET", "/", bearer(issuer.token(t, map[string]any{"n": n}))); a.status != 200 {
			t.Fatalf("a good token is answered %d with %v", a.status, a.fields)
		}
	}
	fetches := issuer.asked.Load() - asked
	t.Logf("%d tokens in %v, %d fetches", sent.Load(), time.Since(began), fetches)
	if most := int64(time.Since(began)/time.Minute) + 1; sent.Load() != 10_000 || fetches > most {
		t.Errorf("%d tokens have the keys fetched %d times", sent.Load(), fetches)
	}
	refused := 0
	for _, result := range []string{"unknown-key", "undecided", "busy"} {
		var n int
		if _, err := fmt.Sscan(strings.TrimPrefix(metric(admin, fmt.Sprintf("serai_auth_tokens_total{auth=\"api\",result=%q}", result)), fmt.Sprintf("serai_auth_tokens_total{auth=\"api\",result=%q}", result)), &n); err != nil {
			t.Fatal(err)
		}
		refused += n
	}
	if refused != 10_000 {
		t.Errorf("%d tokens are counted", refused)
	}
}

// TestReloadOfTokens: a config file that is read again keeps keys and tokens where the
// block is the same; where it is not, the new one counts at once, and keeps the keys.
func TestReloadOfTokens(t *testing.T) {
	t.Parallel()
	i, issuer, admin := newGuardedInstance(t), newTokenIssuer(t), testnet.Address(t)
	config := issuer.config(t, "")
	path := strings.TrimPrefix(config, "--config=")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, config, "--admin="+admin)
	good, h := issuer.token(t, nil), webClients(t, address)["HTTP/1"]
	answers := func() int { return request(t, h, "GET", "/", bearer(good)).status }
	until(t, "keys", func() bool { return answers() == 200 })
	asked := issuer.asked.Load()
	applied := func(n int) {
		t.Helper()
		want := fmt.Sprintf(" %d\n", n)
		until(t, "the new file", func() bool {
			return strings.HasSuffix(metric(admin, `serai_config_reloads_total{result="applied"}`), want)
		})
	}
	known := func() string { return metric(admin, "serai_auth_tokens_known") }
	replaceFile(t, path, issuer.block("")+denies("other"))
	applied(1)
	if answers() != 200 || !strings.HasSuffix(known(), " 1\n") {
		t.Errorf("after a change elsewhere: %s", known())
	}
	replaceFile(t, path, issuer.block("claims = { groups = \"admins\" }"))
	applied(2)
	if n := answers(); n != 403 || !strings.HasSuffix(known(), " 0\n") {
		t.Errorf("after a change: %d, %s", n, known())
	}
	replaceFile(t, path, issuer.block("claims = { groups = \"b\" }"))
	applied(3)
	if n := answers(); n != 200 || issuer.asked.Load() != asked {
		t.Errorf("after another one: %d; %d fetches", n, issuer.asked.Load()-asked)
	}
	replaceFile(t, path, denies("other"))
	applied(4)
	if n := answers(); n != 503 {
		t.Errorf("without the auth: %d", n)
	}
	until(t, "the end of its metrics", func() bool { return metric(admin, "serai_auth_tokens_total") == "" })
	replaceFile(t, path, issuer.block(""))
	applied(5)
	until(t, "keys again", func() bool { return answers() == 200 })
}

// TestTokensOfGRPC: clients of gRPC are told in their own words.
func TestTokensOfGRPC(t *testing.T) {
	t.Parallel()
	i, issuer := newGRPCInstance(t, "a"), newTokenIssuer(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.scheme=grpc", "ingress.auth=api")}, issuer.config(t, "claims = { groups = \"a\" }"))
	c := dialGRPC(t, address, grpcHost)
	for _, call := range []struct {
		token string
		want  codes.Code
	}{
		{issuer.token(t, nil), codes.OK}, {issuer.token(t, map[string]any{"exp": 1}), codes.Unauthenticated}, {issuer.token(t, map[string]any{"groups": nil}), codes.PermissionDenied},
	} {
		ctx := metadata.AppendToOutgoingContext(within(t), "authorization", "Bearer "+call.token)
		if err := c.Invoke(ctx, "/grpc.testing.TestService/EmptyCall", &emptypb.Empty{}, &emptypb.Empty{}); status.Code(err) != call.want {
			t.Errorf("%v, want %v", err, call.want)
		}
	}
}

// TestTokensByCurl: what docs/policies.md shows, by a program that is not ours; also
// before an upgrade.
func TestTokensByCurl(t *testing.T) {
	t.Parallel()
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl")
	}
	i, issuer := newGuardedInstance(t), newTokenIssuer(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, issuer.config(t, ""))
	run := func(args ...string) string {
		args = append([]string{"-s", "-m", "60", "-o", filepath.Join(t.TempDir(), "body"), "-w", "%{http_code}", "-H", "Host: " + authHost}, args...)
		out, err := exec.Command(curl, append(args, "http://"+address+"/")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return string(out)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		t.Fatal(err)
	}
	good := issuer.token(t, nil)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"200", []string{"--oauth2-bearer", good}}, {"200", []string{"--http2-prior-knowledge", "--oauth2-bearer", good}}, {"200", []string{"-X", "DELETE", "-d", "x", "--oauth2-bearer", good}},
		{"401", nil}, {"401", []string{"--http2-prior-knowledge"}}, {"401", []string{"--oauth2-bearer", good + "x"}}, {"401", []string{"-H", "Connection: Upgrade", "-H", "Upgrade: echo"}},
		{"401", []string{"-u", "ann:" + good}}, {"400", []string{"-H", "Authorization: Bearer " + good, "-H", "authorization: Bearer " + good}},
	} {
		if got := run(c.args...); got != c.want {
			t.Errorf("%q: %s, want %s", c.args, got, c.want)
		}
	}
}

// TestWrongJWTBlocks: each way to get a block wrong is refused at its place, and nothing
// of a secret is told.
func TestWrongJWTBlocks(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		replaceFile(t, path, text)
		return path
	}
	key := keystest.EC(t)
	good := file("good", string(keystest.Document(t, keystest.JWK(t, key, nil))))
	secret := file("oct", `{"keys":[{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}]}`)
	empty := file("empty", `{"keys":[]}`)
	both := keystest.JWK(t, key, map[string]any{"d": "c2VjcmV0c2VjcmV0"})
	private := file("private", string(keystest.Document(t, both, keystest.JWK(t, key, nil))))
	long := file("long", strings.Repeat(" ", 300<<10))
	const who = "issuer = \"https://i.test\"\naudience = \"a\"\n" // lines 3 and 4
	keys := fmt.Sprintf("jwks_file = %q\n", good)                 // line 5
	const url = "jwks_url = \"https://i.test/keys\"\n"
	for text, want := range map[string]string{
		"":                                                             ":2,1-4: Wrong jwt; issuer is missing",
		"issuer = \"x\"\n" + keys:                                      ":2,1-4: Wrong jwt; audience is missing",
		"audience = \"x\"\n" + keys:                                    ":2,1-4: Wrong jwt; issuer is missing",
		who:                                                            "jwt has either jwks_url or jwks_file",
		who + keys + url:                                               "jwt has either jwks_url or jwks_file",
		who + keys + "any_audience = true":                             "audience and any_audience exclude each other",
		who + keys + "any_audience = 1":                                ":6,16-17: Wrong jwt; any_audience wants true or false",
		who + keys + "audiences = \"x\"":                               `:6,1-10: Unknown setting`,
		who + keys + "forwards = {}":                                   `did you mean "forward"?`,
		who + keys + "claim {\n}":                                      ":6,1-6: Unknown block",
		who + keys + "claims \"a\" {\n}":                               ":6,1-11: Unknown block",
		who + keys + "issuer = [\"a\"]":                                "",
		who + keys + "realm = [\"a\", \"b\"]":                          ":6,9-19: Wrong jwt; realm wants one value",
		who + "jwks_file = \"/nowhere/keys\"":                          ":5,13-28: Wrong jwt; jwks_file cannot be used",
		who + fmt.Sprintf("jwks_file = %q", empty):                     "no usable key",
		who + fmt.Sprintf("jwks_file = %q", secret):                    "is a secret, and no algorithm",
		who + fmt.Sprintf("jwks_file = %q", private):                   "private key",
		who + fmt.Sprintf("jwks_file = %q", long):                      "more than",
		who + keys + "algorithms = [\"HS256\"]":                        "is no secret",
		who + url + "algorithms = [\"HS256\"]":                         ":6,14-23: Wrong jwt; algorithms: a secret is not fetched",
		who + keys + "algorithms = [\"none\"]":                         `:6,14-22: Wrong jwt; algorithms "none" is not one of`,
		who + keys + "algorithms = [\"RS256\", \"HS256\"]":             "do not go together",
		who + keys + "timeout = \"1s\"":                                ":6,11-15: Wrong jwt; timeout has no effect without jwks_url",
		who + keys + "ca_file = \"/x\"":                                "ca_file has no effect without jwks_url",
		who + "jwks_url = \"http://i.test/keys\"":                      ":5,12-32: Wrong jwt; jwks_url has no https",
		who + "jwks_url = \"https://u:hidden@i.test/\"":                "jwks_url contains a user",
		who + "jwks_url = \"i.test/hidden\"":                           "jwks_url is not an absolute URL",
		who + "jwks_url = \"file:///etc/passwd\"":                      "jwks_url is not an absolute URL",
		who + url + "ca_file = \"/nowhere/ca\"":                        ":6,11-24: Wrong jwt; ca_file cannot be used",
		who + url + fmt.Sprintf("ca_file = %q", good):                  "ca_file has no certificate",
		who + url + "timeout = \"1h\"":                                 ":6,11-15: Wrong jwt; timeout is not between",
		who + url + "refresh = \"1s\"":                                 ":6,11-15: Wrong jwt; refresh is not between",
		who + url + "refresh = \"soon\"":                               "refresh wants a duration",
		who + keys + "clock_skew = \"1h\"":                             ":6,14-18: Wrong jwt; clock_skew is not between",
		who + keys + "max_token = 1":                                   ":6,13-14: Wrong jwt; max_token is not between",
		who + keys + "max_token = -1":                                  "max_token wants a number",
		who + keys + "header = \"Host\"":                               `"Host" is not a field`,
		who + keys + "header = \"a\"\ncookie = \"b\"":                  ":6,10-13: Wrong jwt; header and cookie",
		who + keys + "cookie = \"a b\"":                                ":6,10-15: Wrong jwt; cookie is not the name",
		who + keys + "cookie = \"a\"\nkeep = false":                    ":7,8-13: Wrong jwt; keep: a cookie is not taken out",
		who + keys + "keep = \"maybe\"":                                "keep wants true or false",
		who + keys + "types = [\"\"]":                                  "types has an empty name",
		who + keys + "realm = \"a\\nb\"":                               "realm",
		who + keys + "claims {\n groups = []\n}":                       ":7,11-13: Wrong jwt; groups in claims has no value",
		who + keys + "claims {\n groups = {a = 1}\n}":                  "Wrong type",
		who + keys + "claims {\n groups {}\n}":                         ":7,2-8: Unknown block",
		who + keys + "claims = [\"a\"]":                                ":6,10-11: Invalid expression",
		who + keys + "claims = { \"a..b\" = \"x\" }":                   "is not a path of claims",
		who + keys + "claims {\n a = 1\n}\nclaims {\n a = 2\n}":        "a is given twice in claims",
		who + keys + "forward = { X-User = \"sub\", X-User = \"x\" }":  "X-User is given twice in forward",
		who + keys + "forward = { X-User = \"sub\", x-user = \"x\" }":  "is given twice",
		who + keys + "forward = { X-User = [\"a\", \"b\"] }":           ":6,22-32: Wrong jwt; X-User wants the name of one claim",
		who + keys + "forward = { X_User = \"sub\" }":                  `:6,11-29: Wrong jwt; forward: "X_User" is not the name of a field`,
		who + keys + "forward = { Authorization = \"sub\" }":           "may have the token",
		who + keys + "forward = { Transfer-Encoding = \"sub\" }":       "not a field that a policy may set",
		who + keys + "forward = { \"X-User\\r\\nX-Admin\" = \"sub\" }": "not the name of a field",
		who + keys + "forward = \"sub\"":                               ":6,12-15: Invalid expression",
	} {
		path := strings.TrimPrefix(configOf(t, "auth \"corp\" {\njwt {\n"+text+"\n}\n}\n"), "--config=")
		_, err := readConfig(path, nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "c2VjcmV0") || !strings.Contains(err.Error(), "serai.hcl:") {
			t.Errorf("%s\n%v\nwant %q", text, err, want)
		}
	}
}

// TestJWTDocument: the blocks of docs/policies.md are read, its table has each attribute
// and no other, and its metrics exist.
func TestJWTDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "### Tokens\n")
	section, _, _ = strings.Cut(section, "\n### ")
	var file strings.Builder
	var told []string
	for line := range strings.Lines(section) {
		if code, ok := strings.CutPrefix(line, "    "); ok {
			file.WriteString(code)
		}
		if m := regexp.MustCompile("^\\| `([a-z_]+)` \\| ").FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[1], "serai_") {
			told = append(told, m[1])
		}
	}
	c, err := readText(t, file.String())
	if err != nil || len(c.named.auths) != 4 {
		t.Errorf("%d auths, %v in\n%s", len(c.named.auths), err, file.String())
	}
	slices.Sort(told)
	if has := slices.Sorted(slices.Values(slices.Concat(jwtSettings, jwtLists))); !slices.Equal(told, has) {
		t.Errorf("the table has %q, the block %q", told, has)
	}
	source, err := os.ReadFile("../../admin/tokens.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile("serai_auth_[a-z_]+").FindAllString(section, -1) {
		if !strings.Contains(string(source), `"`+name+`"`) {
			t.Errorf("there is no metric %s", name)
		}
	}
}
