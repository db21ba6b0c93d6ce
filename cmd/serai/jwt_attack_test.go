package main

import (
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/policy/auth/keys/keystest"
)

// TestTokensByHand: signatures and claims that no library writes, as they stand.
func TestTokensByHand(t *testing.T) {
	t.Parallel()
	i, issuer := newGuardedInstance(t), newTokenIssuer(t)
	admin := testnet.Address(t)
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, issuer.config(t, ""), "--admin="+admin)
	until(t, "keys", func() bool { return strings.HasSuffix(metric(admin, `serai_auth_keys{`), " 2\n") })
	good := issuer.token(t, nil)
	part := strings.Split(good, ".")
	n := elliptic.P256().Params().N.Bytes()
	zeros := make([]byte, 32)
	one := append(make([]byte, 31), 1)
	pair := func(r, s []byte) string {
		return part[0] + "." + part[1] + "." + b64(append(append([]byte{}, r...), s...))
	}
	sum := sha256.Sum256([]byte(part[0] + "." + part[1]))
	der, err := ecdsa.SignASN1(rand.Reader, issuer.ec, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	claims := func(text string) string { return keystest.Sign(t, keystest.Head("ES256", "e"), text, issuer.ec) }
	const begun = `{"iss":"https://issuer.test","aud":"shop","sub":"ann","exp":9999999999`
	head := func(text string) string { return b64([]byte(text)) + "." + part[1] + "." + part[2] }
	h := webClients(t, address)["HTTP/1"]
	if a := request(t, h, "GET", "/", bearer(claims(begun+`}`))); a.status != 200 {
		t.Fatalf("a token that is right: %d %s", a.status, a.body)
	}
	before := i.count()
	for what, token := range map[string]string{
		"r is 0":                   pair(zeros, one),
		"s is 0":                   pair(one, zeros),
		"r and s are the order":    pair(n, n),
		"r is 1, s is the order":   pair(one, n),
		"r and s are 1":            pair(one, one),
		"a signature in DER":       part[0] + "." + part[1] + "." + b64(der),
		"half a signature":         part[0] + "." + part[1] + "." + b64(make([]byte, 32)),
		"a byte more":              part[0] + "." + part[1] + "." + b64(append(make([]byte, 64), 0)),
		"a trailing bit":           good[:len(good)-1] + string(rune(good[len(good)-1]+1)),
		"a blank in the middle":    part[0] + ". " + part[1] + "." + part[2],
		"padding inside":           part[0] + "=." + part[1] + "." + part[2],
		"standard base64":          part[0] + "." + part[1] + "+/." + part[2],
		"four parts":               good + "." + part[2],
		"an empty head":            head(``),
		"a head of null":           head(`null`),
		"a head in a list":         head(`[{"alg":"ES256","kid":"e"}]`),
		"alg twice":                head(`{"alg":"none","alg":"ES256","kid":"e"}`),
		"alg in capitals beside":   head(`{"alg":"none","ALG":"ES256","kid":"e"}`),
		"alg is a number":          head(`{"alg":256,"kid":"e"}`),
		"kid is a list":            head(`{"alg":"ES256","kid":["e"]}`),
		"kid of an URL":            head(`{"alg":"ES256","kid":"https://evil.example/keys"}`),
		"kid long":                 head(`{"alg":"ES256","kid":"` + strings.Repeat("e", 300) + `"}`),
		"a mark before":            claims("\ufeff" + begun + `}`),
		"more behind":              claims(begun + `}{}`),
		"a list":                   claims(`[` + begun + `}]`),
		"half a character":         claims(begun + `,"x":"\ud800"}`),
		"a comment":                claims(begun + `/*,"sub":"root"*/}`),
		"a comma at the end":       claims(begun + `,}`),
		"single quotes":            claims(strings.ReplaceAll(begun, `"`, `'`) + `}`),
		"an object twice":          claims(begun + `,"a":{"b":1,"b":2}}`),
		"sub twice, in two depths": claims(begun + `,"sub":{"a":"root"}}`),
		"exp in hexadecimal":       claims(strings.Replace(begun, "9999999999", "0xffffffff", 1) + `}`),
		"exp with a plus":          claims(strings.Replace(begun, "9999999999", "+9999999999", 1) + `}`),
		"exp of Infinity":          claims(strings.Replace(begun, "9999999999", "Infinity", 1) + `}`),
		"exp below 0":              claims(strings.Replace(begun, "9999999999", "-1", 1) + `}`),
		"exp of 2^64":              claims(strings.Replace(begun, "9999999999", "18446744073709551616", 1) + `}`),
		"EXP alone":                claims(strings.Replace(begun, `"exp"`, `"EXP"`, 1) + `}`),
		"Aud alone":                claims(strings.Replace(begun, `"aud"`, `"Aud"`, 1) + `}`),
		"iss with a slash":         claims(strings.Replace(begun, "issuer.test", "issuer.test/", 1) + `}`),
		"iss with a zero":          claims(strings.Replace(begun, "issuer.test", `issuer.test\u0000`, 1) + `}`),
		"aud in a list in a list":  claims(strings.Replace(begun, `"shop"`, `[["shop"]]`, 1) + `}`),
		"aud with a blank":         claims(strings.Replace(begun, `"shop"`, `"shop "`, 1) + `}`),
	} {
		if token == good {
			t.Fatalf("%s: it is the good one", what)
		}
		if a := request(t, h, "GET", "/", bearer(token)); a.status != 401 || a.fields.Get("X-Serai-Reason") != "auth-required" {
			t.Errorf("%s: answered %d %s", what, a.status, a.body)
		}
	}
	if n := i.count() - before; n != 0 {
		t.Errorf("%d requests have reached the instance", n)
	}
}

// TestDocumentsOfKeys: a server of keys may show anything. What is no key that only its
// issuer can sign with lets nobody in, and keeps nobody waiting for longer than the timeout.
func TestDocumentsOfKeys(t *testing.T) {
	t.Parallel()
	i := newGuardedInstance(t)
	ec, weak, own := keystest.EC(t), keystest.RSA(t, 1024), keystest.RSA(t, 2048)
	secret := []byte("0123456789abcdef0123456789abcdef")
	document := func(all ...map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write(keystest.Document(t, all...)) }
	}
	es := keystest.Sign(t, keystest.Head("ES256", "e"), tokenClaims(nil), ec)
	known := keystest.JWK(t, ec, map[string]any{"kid": "e"})
	exponent := map[string]any{"kty": "RSA", "kid": "r", "n": b64(own.N.Bytes()), "e": "AQ"}
	even := map[string]any{"kty": "RSA", "kid": "r", "n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes()), "e": "AQAB"}
	for what, c := range map[string]struct {
		keys  http.HandlerFunc
		token string
		want  int
	}{
		"what is right":             {document(known), es, 200},
		"beside what is of no use":  {document(map[string]any{"kty": "oct", "kid": "e", "k": b64(secret)}, exponent, map[string]any{"kty": "XX"}, known), es, 200},
		"two with one kid":          {document(keystest.JWK(t, keystest.EC(t), map[string]any{"kid": "e"}), known), es, 200},
		"a secret":                  {document(map[string]any{"kty": "oct", "kid": "e", "k": b64(secret)}, known), keystest.Sign(t, map[string]any{"alg": "HS256", "kid": "e"}, tokenClaims(nil), secret), 401},
		"a secret alone":            {document(map[string]any{"kty": "oct", "kid": "e", "k": b64(secret)}), keystest.Sign(t, map[string]any{"alg": "HS256", "kid": "e"}, tokenClaims(nil), secret), 401},
		"RSA of 1024 bits":          {document(keystest.JWK(t, weak, map[string]any{"kid": "r"}), known), keystest.Sign(t, map[string]any{"alg": "RS256", "kid": "r"}, tokenClaims(nil), weak), 401},
		"RSA with an exponent of 1": {document(exponent, known), signedByNobody(tokenClaims(nil), 256), 401},
		"RSA of a power of 2":       {document(even, known), signedByNobody(tokenClaims(nil), 256), 401},
		"for encryption":            {document(keystest.JWK(t, ec, map[string]any{"kid": "e", "use": "enc"})), es, 503},
		"for another algorithm":     {document(keystest.JWK(t, ec, map[string]any{"kid": "e", "alg": "ES384"})), es, 503},
		"of another curve":          {document(keystest.JWK(t, ec, map[string]any{"kid": "e", "crv": "P-384"})), es, 503},
		"a point that is on none":   {document(keystest.JWK(t, ec, map[string]any{"kid": "e", "y": b64(make([]byte, 32))})), es, 503},
		"10 MiB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Write(append(bytes.Repeat([]byte(" "), 10<<20), keystest.Document(t, known)...))
		}, es, 503},
		"10 MiB in a few KiB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(bytes.Repeat([]byte(" "), 10<<20))
			z.Write(keystest.Document(t, known))
			z.Close()
		}, es, 503},
		"byte for byte": {func(w http.ResponseWriter, r *http.Request) {
			for _, b := range keystest.Document(t, known) {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}, es, 503},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, es, 503},
		"a list": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[{"keys":[]}]`) }, es, 503},
		"keys twice": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"keys":[],%s`, keystest.Document(t, known)[1:])
		}, es, 503},
		"another server":  {http.RedirectHandler("http://127.0.0.1:1/keys", http.StatusFound).ServeHTTP, es, 503},
		"without an end":  {http.RedirectHandler("/keys", http.StatusFound).ServeHTTP, es, 503},
		"nothing, as 204": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, es, 503},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewTLSServer(c.keys)
			t.Cleanup(s.Close)
			ca := filepath.Join(t.TempDir(), "ca.pem")
			replaceFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
			config := configOf(t, fmt.Sprintf("auth \"api\" {\n  jwt {\n    issuer = \"https://issuer.test\"\n    audience = %q\n    jwks_url = %q\n    ca_file = %q\n    timeout = \"2s\"\n  }\n}\n", tokenAudience, s.URL+"/keys", ca))
			_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.auth=api")}, config)
			h := webClients(t, address)["HTTP/1"]
			a := request(t, h, "GET", "/", bearer(c.token))
			if c.want != 503 { // the keys may not be there yet
				until(t, "keys", func() bool { a = request(t, h, "GET", "/", bearer(c.token)); return a.status != 503 })
			}
			if a.status != c.want {
				t.Errorf("answered %d %s, want %d", a.status, a.body, c.want)
			}
		})
	}
}
