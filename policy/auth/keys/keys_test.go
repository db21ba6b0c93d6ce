package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"serai/policy/auth/keys/keystest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The private keys of these tests, made once: RSA takes a while.
var (
	rsaKey, _    = rsa.GenerateKey(rand.Reader, 2048)
	ecKey, _     = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ec384Key, _  = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, edKey, _  = ed25519.GenerateKey(rand.Reader)
	weakKey, _   = rsa.GenerateKey(rand.Reader, 1024)
	otherKey, _  = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	secret       = []byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	okClaims     = map[string]any{"sub": "ann"}
	withoutTests = func(f func(gone <-chan struct{})) error { f(nil); return nil }
)

func b64(b []byte) string { return keystest.B64(b) }

func jwkOf(t testing.TB, key any, more map[string]any) map[string]any {
	return keystest.JWK(t, key, more)
}

func document(t testing.TB, all ...map[string]any) []byte { return keystest.Document(t, all...) }

func sign(t testing.TB, head, claims, private any) string {
	return keystest.Sign(t, head, claims, private)
}

func head(algorithm, id string) map[string]any { return keystest.Head(algorithm, id) }

func setOf(t testing.TB, all ...map[string]any) *Set {
	t.Helper()
	s, err := ParseSet(document(t, all...), false)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestVerify: what is right, and each way to be wrong. The set has a key of each type.
func TestVerify(t *testing.T) {
	set := setOf(t, jwkOf(t, rsaKey, map[string]any{"kid": "r"}), jwkOf(t, ecKey, map[string]any{"kid": "e", "alg": "ES256", "use": "sig"}),
		jwkOf(t, edKey, map[string]any{"kid": "d", "key_ops": []string{"verify"}}), jwkOf(t, ec384Key, map[string]any{"kid": "e384"}))
	all, _ := ParseAlgorithms(nil)
	good := sign(t, head("ES256", "e"), okClaims, ecKey)
	part := strings.Split(good, ".")
	with := func(more map[string]any) map[string]any { h := head("ES256", "e"); maps.Copy(h, more); return h }
	embedded := jwkOf(t, otherKey, nil)
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"RS256":                     {sign(t, head("RS256", "r"), okClaims, rsaKey), nil},
		"ES256":                     {good, nil},
		"EdDSA":                     {sign(t, head("EdDSA", "d"), okClaims, edKey), nil},
		"Ed25519":                   {sign(t, head("Ed25519", "d"), okClaims, edKey), nil},
		"Ed25519 of another":        {sign(t, head("Ed25519", "d"), okClaims, rsaKey), ErrSignature},
		"Ed25519 with a key of RSA": {sign(t, head("Ed25519", "r"), okClaims, edKey), ErrUnknownKey},
		"Ed25519 changed":           {strings.Replace(sign(t, head("Ed25519", "d"), okClaims, edKey), ".", ".e", 1), ErrSignature},
		"x5t, which says nothing":   {sign(t, with(map[string]any{"x5t": "abc"}), okClaims, ecKey), nil},
		"jku, which is not asked":   {sign(t, with(map[string]any{"jku": "http://127.0.0.1:1/"}), okClaims, ecKey), nil},
		"nothing":                   {"", ErrMalformed},
		"dots":                      {"..", ErrMalformed},
		"many dots":                 {strings.Repeat(".", 100_000), ErrMalformed},
		"two parts":                 {part[0] + "." + part[1], ErrMalformed},
		"four parts":                {good + ".", ErrMalformed},
		"a JWE":                     {b64([]byte(`{"alg":"dir","enc":"A128GCM"}`)) + "..a.b.c", ErrMalformed},
		"PBES2 with many rounds":    {b64([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":2147483647,"p2s":"AAAA"}`)) + ".a.a.b.c", ErrMalformed},
		"a JWE of three parts":      {sign(t, map[string]any{"alg": "ES256", "enc": "A128GCM"}, okClaims, ecKey), ErrMalformed},
		"JSON serialization":        {`{"payload":"` + part[1] + `","protected":"` + part[0] + `","signature":"` + part[2] + `"}`, ErrMalformed},
		"compact in JSON":           {`{"` + part[0] + `.` + part[1] + `.` + part[2] + `":"x"}`, ErrMalformed},
		"no signature":              {part[0] + "." + part[1] + ".", ErrMalformed},
		"no payload":                {part[0] + ".." + part[2], ErrMalformed},
		"padding":                   {part[0] + "." + part[1] + "=." + part[2], ErrMalformed},
		"other base64":              {part[0] + "." + part[1] + "." + strings.Repeat("+/", 43), ErrMalformed},
		"a line end":                {part[0] + "." + part[1] + "\n." + part[2], ErrMalformed},
		"a blank before it":         {" " + good, ErrMalformed},
		"none":                      {sign(t, map[string]any{"alg": "none"}, okClaims, nil) + "AA", ErrAlgorithm},
		"None":                      {sign(t, map[string]any{"alg": "None"}, okClaims, ecKey), ErrAlgorithm},
		"nOnE":                      {sign(t, map[string]any{"alg": "nOnE", "kid": "e"}, okClaims, ecKey), ErrAlgorithm},
		"none, unsigned":            {sign(t, map[string]any{"alg": "none"}, okClaims, nil), ErrMalformed},
		"no alg":                    {sign(t, map[string]any{"kid": "e"}, okClaims, ecKey), ErrMalformed},
		"alg is a list":             {sign(t, with(map[string]any{"alg": []string{"ES256"}}), okClaims, ecKey), ErrMalformed},
		"alg is null":               {sign(t, with(map[string]any{"alg": nil}), okClaims, ecKey), ErrMalformed},
		"alg in another case":       {sign(t, with(map[string]any{"alg": "es256"}), okClaims, ecKey), ErrAlgorithm},
		"HS256 with the RSA key":    {sign(t, head("HS256", "r"), okClaims, rsaKey.N.Bytes()), ErrAlgorithm},
		"RS256 with the EC key":     {sign(t, head("RS256", "e"), okClaims, ecKey), ErrUnknownKey},
		"ES256 with the RSA key":    {sign(t, head("ES256", "r"), okClaims, ecKey), ErrUnknownKey},
		"ES256 with a P-384 key":    {sign(t, head("ES256", "e384"), okClaims, ec384Key), ErrUnknownKey},
		"ES384 with a P-256 key":    {sign(t, head("ES384", "e"), okClaims, ecKey), ErrUnknownKey},
		"the key of another":        {sign(t, head("ES256", "e"), okClaims, otherKey), ErrSignature},
		"its own jwk":               {sign(t, map[string]any{"alg": "ES256", "jwk": embedded}, okClaims, otherKey), ErrMalformed},
		"its own jwk and our kid":   {sign(t, with(map[string]any{"jwk": embedded}), okClaims, otherKey), ErrMalformed},
		"its own x5c":               {sign(t, with(map[string]any{"x5c": []string{"AAAA"}}), okClaims, otherKey), ErrMalformed},
		"crit":                      {sign(t, with(map[string]any{"crit": []string{"exp"}, "exp": 1}), okClaims, ecKey), ErrMalformed},
		"crit without a name":       {sign(t, with(map[string]any{"crit": []string{}}), okClaims, ecKey), ErrMalformed},
		"crit that is null":         {sign(t, with(map[string]any{"crit": nil}), okClaims, ecKey), ErrMalformed},
		"b64":                       {sign(t, with(map[string]any{"b64": false}), okClaims, ecKey), ErrMalformed},
		"zip":                       {sign(t, with(map[string]any{"zip": "DEF"}), okClaims, ecKey), ErrMalformed},
		"kid of nobody":             {sign(t, head("ES256", "x"), okClaims, ecKey), ErrUnknownKey},
		"kid with a path":           {sign(t, head("ES256", "../../dev/null"), okClaims, ecKey), ErrUnknownKey},
		"kid with SQL":              {sign(t, head("ES256", "x' UNION SELECT 'e"), okClaims, ecKey), ErrUnknownKey},
		"kid with a zero":           {sign(t, head("ES256", "e\x00"), okClaims, ecKey), ErrUnknownKey},
		"kid in another case":       {sign(t, head("ES256", "E"), okClaims, ecKey), ErrUnknownKey},
		"kid that is empty":         {sign(t, head("ES256", ""), okClaims, ecKey), ErrUnknownKey},
		"kid is a number":           {sign(t, with(map[string]any{"kid": 1}), okClaims, ecKey), ErrMalformed},
		"kid is an object":          {sign(t, with(map[string]any{"kid": map[string]any{"e": 1}}), okClaims, ecKey), ErrMalformed},
		"kid is null":               {sign(t, with(map[string]any{"kid": nil}), okClaims, ecKey), ErrMalformed},
		"kid is long":               {sign(t, head("ES256", strings.Repeat("e", 257)), okClaims, ecKey), ErrMalformed},
		"no kid":                    {sign(t, map[string]any{"alg": "ES256"}, okClaims, ecKey), nil},
		"no kid, of another":        {sign(t, map[string]any{"alg": "ES256"}, okClaims, otherKey), ErrUnknownKey},
		"typ is a number":           {sign(t, with(map[string]any{"typ": 1}), okClaims, ecKey), ErrMalformed},
		"alg twice":                 {sign(t, `{"alg":"none","alg":"ES256","kid":"e"}`, okClaims, ecKey), ErrMalformed},
		"alg twice, escaped":        {sign(t, `{"alg":"ES256","\u0061lg":"none","kid":"e"}`, okClaims, ecKey), ErrMalformed},
		"more behind the head":      {sign(t, `{"alg":"ES256","kid":"e"} {}`, okClaims, ecKey), ErrMalformed},
		"the head is a list":        {sign(t, `["ES256"]`, okClaims, ecKey), ErrMalformed},
		"the head is deep":          {sign(t, `{"alg":"ES256","kid":"e","a":`+strings.Repeat("[", 3000)+strings.Repeat("]", 3000)+"}", okClaims, ecKey), ErrMalformed},
		"the head has a BOM":        {sign(t, "\ufeff"+`{"alg":"ES256","kid":"e"}`, okClaims, ecKey), ErrMalformed},
		"the head is no UTF-8":      {sign(t, "{\"alg\":\"ES256\",\"kid\":\"e\",\"x\":\"\xff\"}", okClaims, ecKey), ErrMalformed},
		"r and s are 0":             {part[0] + "." + part[1] + "." + b64(make([]byte, 64)), ErrSignature},
		"a short signature":         {part[0] + "." + part[1] + "." + b64(make([]byte, 63)), ErrSignature},
		"a long signature":          {good + "AAAA", ErrSignature},
		"a signature of one byte":   {part[0] + "." + part[1] + ".AA", ErrSignature},
		"another payload":           {part[0] + "." + b64([]byte(`{"sub":"eve"}`)) + "." + part[2], ErrSignature},
		"another spelling":          {good[:len(good)-1] + other(good[len(good)-1]), ErrMalformed},
		"claims that are a list":    {sign(t, head("ES256", "e"), `[1]`, ecKey), ErrMalformed},
		"claims that are null":      {sign(t, head("ES256", "e"), `null`, ecKey), ErrMalformed},
		"claims that are no JSON":   {sign(t, head("ES256", "e"), `sub=ann`, ecKey), ErrMalformed},
		"a token in a token":        {sign(t, with(map[string]any{"cty": "JWT"}), good, ecKey), ErrMalformed},
		"a claim twice":             {sign(t, head("ES256", "e"), `{"sub":"eve","sub":"ann"}`, ecKey), ErrMalformed},
		"a claim twice, deep":       {sign(t, head("ES256", "e"), `{"a":{"b":1,"\u0062":2}}`, ecKey), ErrMalformed},
		"deep claims":               {sign(t, head("ES256", "e"), `{"a":`+strings.Repeat(`{"a":`, 17)+"1"+strings.Repeat("}", 18), ecKey), ErrMalformed},
		"NaN":                       {sign(t, head("ES256", "e"), `{"exp":NaN}`, ecKey), ErrMalformed},
		"a comment":                 {sign(t, head("ES256", "e"), `{/**/"sub":"ann"}`, ecKey), ErrMalformed},
		"a lone surrogate":          {sign(t, head("ES256", "e"), `{"sub":"\ud800"}`, ecKey), ErrMalformed},
		"claims with a BOM":         {sign(t, head("ES256", "e"), "\ufeff{}", ecKey), ErrMalformed},
		"claims with more behind":   {sign(t, head("ES256", "e"), `{}x`, ecKey), ErrMalformed},
		"claims with blanks around": {sign(t, head("ES256", "e"), " {} \n", ecKey), nil},
	} {
		token, err := Verify(set, c.token, all, withoutTests)
		if err != c.want || (err == nil) != (token != nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// other is a character of base64 that differs from c in bits that are not used where 64
// bytes end.
func other(c byte) string {
	const all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return all[strings.IndexByte(all, c)^1:][:1]
}

// TestSecrets: HS algorithms work with secrets alone, which nothing else does, and a
// public key in any spelling is no secret.
func TestSecrets(t *testing.T) {
	oct := map[string]any{"kty": "oct", "kid": "s", "k": b64(secret)}
	all, err := ParseAlgorithms([]string{"HS256"})
	if err != nil {
		t.Fatal(err)
	}
	set, err := ParseSet(document(t, oct, jwkOf(t, rsaKey, map[string]any{"kid": "r"})), true)
	if err != nil || set.Len() != 1 {
		t.Fatal(set, err)
	}
	if _, err := Verify(set, sign(t, head("HS256", "s"), okClaims, secret), all, withoutTests); err != nil {
		t.Error(err)
	}
	for name, private := range map[string]any{"another secret": secret[1:], "the public key": rsaKey.N.Bytes(), "its document": document(t, jwkOf(t, rsaKey, nil)), "nothing": []byte{}} {
		for _, id := range []string{"s", "r"} {
			if token, err := Verify(set, sign(t, head("HS256", id), okClaims, private), all, withoutTests); err == nil {
				t.Errorf("%s, %s: %+v", name, id, token)
			}
		}
	}
	if _, err := Verify(set, sign(t, head("RS256", "r"), okClaims, rsaKey), all, withoutTests); err != ErrAlgorithm {
		t.Errorf("RS256 where HS256 is allowed: %v", err)
	}
	if _, err := ParseSet(document(t, oct), false); err == nil {
		t.Error("a secret is taken for a public key")
	}
	if _, err := ParseSet(document(t, map[string]any{"kty": "oct", "k": b64([]byte("short"))}), true); err == nil {
		t.Error("a short secret is taken")
	}
	for _, names := range [][]string{{"none"}, {"HS256", "RS256"}, {"RS256", "HS512"}, {"rs256"}, {""}, {"dir"}, {"ML-DSA-44"}} {
		if all, err := ParseAlgorithms(names); err == nil {
			t.Errorf("%q are taken for %s", names, all)
		}
	}
	if defaults, _ := ParseAlgorithms(nil); defaults.Secret() || strings.Contains(defaults.String(), "HS") || strings.Contains(defaults.String(), "none") {
		t.Errorf("by default: %s", defaults)
	}
}

// TestUselessKeys: what a document may have that nobody must sign with.
func TestUselessKeys(t *testing.T) {
	good := jwkOf(t, ecKey, map[string]any{"kid": "e"})
	private, err := jose.JSONWebKey{Key: rsaKey, KeyID: "p"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var privateMembers map[string]any
	if err := json.Unmarshal(private, &privateMembers); err != nil {
		t.Fatal(err)
	}
	off := jwkOf(t, ecKey, map[string]any{"y": b64(make([]byte, 32))})
	for name, c := range map[string]struct {
		key map[string]any
		why string
	}{
		"for encryption":        {jwkOf(t, rsaKey, map[string]any{"use": "enc"}), "not for signatures"},
		"for signing":           {jwkOf(t, rsaKey, map[string]any{"key_ops": []string{"sign"}}), "not for checking"},
		"of another algorithm":  {jwkOf(t, rsaKey, map[string]any{"alg": "RSA-OAEP"}), "not for signatures"},
		"of a wrong algorithm":  {jwkOf(t, rsaKey, map[string]any{"alg": "HS256"}), "not for its type"},
		"EC of the wrong curve": {jwkOf(t, ec384Key, map[string]any{"alg": "ES256"}), "not for its type"},
		"of no type":            {map[string]any{"kid": "x"}, "malformed"},
		"of an unknown type":    {map[string]any{"kty": "XYZ"}, "unknown type"},
		"of an unknown curve":   {map[string]any{"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, "unknown type"},
		"not on its curve":      {off, "malformed"},
		"a secret":              {map[string]any{"kty": "oct", "k": b64(secret)}, "is a secret"},
		"private":               {privateMembers, "private"},
		"1024 bits":             {jwkOf(t, weakKey, nil), "weak"},
		"an exponent of 1":      {jwkOf(t, rsaKey, map[string]any{"e": "AQ"}), ""},
		"an even exponent":      {jwkOf(t, rsaKey, map[string]any{"e": "BA"}), "weak"},
		"a modulus of 0":        {map[string]any{"kty": "RSA", "n": "AA", "e": "AQAB"}, ""},
		"a huge modulus":        {map[string]any{"kty": "RSA", "n": strings.Repeat("_", 20_000), "e": "AQAB"}, ""},
		"kid is a number":       {jwkOf(t, rsaKey, map[string]any{"kid": 1}), "malformed"},
		"kid is long":           {jwkOf(t, rsaKey, map[string]any{"kid": strings.Repeat("x", 300)}), "malformed"},
	} {
		s, err := ParseSet(document(t, c.key, good), false)
		if err != nil || s.Len() != 1 || len(s.Ignored) != 1 || !strings.Contains(s.Ignored[0], c.why) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if s != nil && s.Private() != (name == "private") {
			t.Errorf("%s: Private says %v", name, s.Private())
		}
		if _, err := ParseSet(document(t, c.key), false); err == nil {
			t.Errorf("%s alone is taken", name)
		}
	}
	for name, text := range map[string]string{
		"nothing": "", "no JSON": "<html>", "a list": "[]", "no keys": "{}", "null": `{"keys":null}`, "a text": `{"keys":"x"}`, "keys of no kind": `{"keys":[1]}`, "none": `{"keys":[]}`,
		"Keys": strings.Replace(string(document(t, good)), "keys", "Keys", 1), "keys twice": `{"keys":[],` + string(document(t, good))[1:], "more": string(document(t, good)) + "{}",
		"many": `{"keys":[` + strings.Repeat("{},", 200) + "{}]}", "deep": `{"keys":[{"a":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + "}]}",
	} {
		if _, err := ParseSet([]byte(text), false); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestSameKid: several keys may have a kid, and a key may have none.
func TestSameKid(t *testing.T) {
	all, _ := ParseAlgorithms(nil)
	same := map[string]any{"kid": "k"}
	set := setOf(t, jwkOf(t, otherKey, same), jwkOf(t, ecKey, same), jwkOf(t, rsaKey, same))
	for _, token := range []string{sign(t, head("ES256", "k"), okClaims, ecKey), sign(t, head("ES256", "k"), okClaims, otherKey), sign(t, head("RS256", "k"), okClaims, rsaKey)} {
		if _, err := Verify(set, token, all, withoutTests); err != nil {
			t.Error(err)
		}
	}
	for algorithm, want := range map[string]error{"RS256": nil, "RS384": ErrUnknownKey, "PS256": ErrUnknownKey} {
		bound := setOf(t, jwkOf(t, rsaKey, map[string]any{"kid": "k", "alg": algorithm}))
		if _, err := Verify(bound, sign(t, head("RS256", "k"), okClaims, rsaKey), all, withoutTests); err != want {
			t.Errorf("RS256 with a key for %s: %v", algorithm, err)
		}
	}
	nameless := setOf(t, jwkOf(t, ecKey, nil), jwkOf(t, rsaKey, same))
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"a kid that nothing has":             {sign(t, head("ES256", "x"), okClaims, ecKey), nil},
		"that, of another key":               {sign(t, head("ES256", "x"), okClaims, otherKey), ErrUnknownKey},
		"the kid of a key of another type":   {sign(t, head("ES256", "k"), okClaims, ecKey), nil},
		"another kid than that of the key":   {sign(t, head("RS256", "x"), okClaims, rsaKey), ErrUnknownKey},
		"no kid, where another key has none": {sign(t, map[string]any{"alg": "RS256"}, okClaims, rsaKey), nil},
	} {
		if _, err := Verify(nameless, c.token, all, withoutTests); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	many := []map[string]any{jwkOf(t, edKey, map[string]any{"kid": "first"})}
	for i := range mostTried {
		many = append(many, jwkOf(t, keystest.Ed(t), map[string]any{"kid": fmt.Sprint(i)}))
		want := error(nil)
		if len(many) > mostTried {
			want = ErrUnknownKey
		}
		if _, err := Verify(setOf(t, many...), sign(t, map[string]any{"alg": "EdDSA"}, okClaims, edKey), all, withoutTests); err != want {
			t.Errorf("a token that %d keys fit: %v", len(many), err)
		}
	}
}

// TestOrderOfKeys: a document with the same keys in another order is the same set.
func TestOrderOfKeys(t *testing.T) {
	a, b := jwkOf(t, ecKey, map[string]any{"kid": "a"}), jwkOf(t, edKey, map[string]any{"kid": "b"})
	one, two, three := setOf(t, a, b), setOf(t, b, a), setOf(t, a)
	if one.sum != two.sum || one.sum == three.sum {
		t.Error("sums are wrong")
	}
	if renamed := setOf(t, jwkOf(t, ecKey, map[string]any{"kid": "c"}), b); renamed.sum == one.sum {
		t.Error("a key with another kid is the same")
	}
}
