package auth

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"serai/policy"
	"serai/policy/auth/keys"
	"serai/policy/auth/keys/keystest"
	"serai/wire"
)

const (
	testIssuer   = "https://issuer.test"
	testAudience = "api"
)

// jwtTest is a policy and the key that its tokens are signed with.
type jwtTest struct {
	*JWT
	key *ecdsa.PrivateKey
}

func newJWT(t testing.TB, change func(*JWTOptions)) jwtTest {
	t.Helper()
	key := keystest.EC(t)
	set, err := keys.ParseSet(keystest.Document(t, keystest.JWK(t, key, map[string]any{"kid": "k"})), false)
	if err != nil {
		t.Fatal(err)
	}
	o := JWTOptions{Issuer: testIssuer, Audience: []string{testAudience}, Forward: []ForwardedClaim{{"X-User", "sub"}}}
	if change != nil {
		change(&o)
	}
	tokens := NewTokens()
	tokens.SetLimit(1 << 20)
	j, err := NewJWT("api", o, set, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return jwtTest{j, key}
}

// claims are those of a token that is right, with members changed; a value of type
// missing takes one away.
func claims(more map[string]any) map[string]any {
	now := time.Now().Unix()
	all := map[string]any{"iss": testIssuer, "aud": testAudience, "sub": "ann", "iat": now, "exp": now + 3600}
	maps.Copy(all, more)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == missing{} })
	return all
}

type missing struct{}

// token makes one that is signed with the right key.
func (j jwtTest) token(t testing.TB, claims any) string {
	return keystest.Sign(t, keystest.Head("ES256", "k"), claims, j.key)
}

// asks is the verdict on a request with a token.
func (j jwtTest) asks(token string) string { return verdict(j, ask("Authorization: Bearer "+token)) }

// outcome is the one outcome that has been counted since the last call.
func (j jwtTest) outcome() (label string) {
	for o := range j.counts {
		if n := j.counts[o].Swap(0); n > 0 {
			label += outcomes[o].label
		}
	}
	return label
}

const passAnn = "pass X-User: ann\r\n"

// TestClaims: what a token may say, and what it must (RFC 8725 sections 3.8, 3.9 and
// 3.11; RFC 7519 section 4.1).
func TestClaims(t *testing.T) {
	j := newJWT(t, nil)
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		claims any
		want   string
	}{
		"right":                    {claims(nil), "verified"},
		"of another issuer":        {claims(map[string]any{"iss": "https://evil.test"}), "issuer"},
		"an issuer with a slash":   {claims(map[string]any{"iss": testIssuer + "/"}), "issuer"},
		"an issuer in capitals":    {claims(map[string]any{"iss": strings.ToUpper(testIssuer)}), "issuer"},
		"no issuer":                {claims(map[string]any{"iss": missing{}}), "issuer"},
		"a list of issuers":        {claims(map[string]any{"iss": []string{testIssuer}}), "issuer"},
		"an issuer that is null":   {claims(map[string]any{"iss": nil}), "issuer"},
		"ISS":                      {claims(map[string]any{"iss": missing{}, "ISS": testIssuer}), "issuer"},
		"for others":               {claims(map[string]any{"aud": "web"}), "audience"},
		"for others with our name": {claims(map[string]any{"aud": "api2"}), "audience"},
		"for others and us":        {claims(map[string]any{"aud": []string{"web", "api"}}), "verified"},
		"for several others":       {claims(map[string]any{"aud": []string{"web", "x"}}), "audience"},
		"for nobody":               {claims(map[string]any{"aud": []string{}}), "audience"},
		"for the empty name":       {claims(map[string]any{"aud": ""}), "audience"},
		"for the empty names":      {claims(map[string]any{"aud": []string{"", ""}}), "audience"},
		"no audience":              {claims(map[string]any{"aud": missing{}}), "audience"},
		"an audience that is null": {claims(map[string]any{"aud": nil}), "audience"},
		"an audience of numbers":   {claims(map[string]any{"aud": []any{1, true, nil}}), "audience"},
		"an audience in an object": {claims(map[string]any{"aud": map[string]any{"api": "api"}}), "audience"},
		"lists in lists":           {claims(map[string]any{"aud": []any{[]any{"api"}}}), "audience"},
		"names in one text":        {claims(map[string]any{"aud": "web api"}), "audience"},
		"expired":                  {claims(map[string]any{"exp": now - 61}), "expired"},
		"just expired":             {claims(map[string]any{"exp": now - 30}), "verified"},
		"no expiry":                {claims(map[string]any{"exp": missing{}}), "no-expiry"},
		"expiry null":              {claims(map[string]any{"exp": nil}), "malformed"},
		"expiry as text":           {claims(map[string]any{"exp": fmt.Sprint(now + 3600)}), "malformed"},
		"expiry as bool":           {claims(map[string]any{"exp": true}), "malformed"},
		"expiry in a list":         {claims(map[string]any{"exp": []int64{now + 3600}}), "malformed"},
		"expiry 0":                 {claims(map[string]any{"exp": 0}), "expired"},
		"expiry below 0":           {claims(map[string]any{"exp": -1}), "malformed"},
		"expiry with a fraction":   {claims(map[string]any{"exp": float64(now) + 3600.5}), "verified"},
		"expiry with an exponent":  {claims(map[string]any{"exp": json.Number("4e9")}), "verified"},
		"expiry in milliseconds":   {claims(map[string]any{"exp": (now + 3600) * 1000}), "malformed"},
		"expiry of 400 digits":     {claims(map[string]any{"exp": json.Number(strings.Repeat("9", 400))}), "malformed"},
		"expiry 1e999":             {claims(map[string]any{"exp": json.Number("1e999")}), "malformed"},
		"expiry 2^63":              {claims(map[string]any{"exp": json.Number("9223372036854775808")}), "malformed"},
		"expiry 2^64 and more":     {claims(map[string]any{"exp": json.Number("18446744073709551616")}), "malformed"},
		"expiry in the year 9999":  {claims(map[string]any{"exp": latest}), "verified"},
		"not yet":                  {claims(map[string]any{"nbf": now + 120}), "early"},
		"almost":                   {claims(map[string]any{"nbf": now + 30}), "verified"},
		"nbf as text":              {claims(map[string]any{"nbf": "0"}), "malformed"},
		"nbf null":                 {claims(map[string]any{"nbf": nil}), "malformed"},
		"nbf of 1e999":             {claims(map[string]any{"nbf": json.Number("1e999")}), "malformed"},
		"issued in the future":     {claims(map[string]any{"iat": now + 120}), "early"},
		"issued a moment ahead":    {claims(map[string]any{"iat": now + 30}), "verified"},
		"iat as text":              {claims(map[string]any{"iat": "now"}), "malformed"},
		"no iat":                   {claims(map[string]any{"iat": missing{}}), "verified"},
		"nothing":                  {map[string]any{}, "issuer"},
	} {
		got := j.asks(j.token(t, c.claims))
		want := "401 auth-required"
		if c.want == "verified" {
			want = passAnn
		}
		if o := j.outcome(); got != want || o != c.want {
			t.Errorf("%s: %q %s, want %q %s", name, got, o, want, c.want)
		}
	}
}

// TestTypes: a token that was made for something else is none (RFC 8725 section 3.11).
func TestTypes(t *testing.T) {
	usual, strict := newJWT(t, nil), newJWT(t, func(o *JWTOptions) { o.Types = []string{"at+jwt"} })
	for typ, want := range map[string][2]string{
		"JWT": {"verified", "type"}, "jwt": {"verified", "type"}, "at+jwt": {"verified", "verified"}, "AT+JWT": {"verified", "verified"}, "application/at+jwt": {"verified", "verified"},
		"dpop+jwt": {"type", "type"}, "logout+jwt": {"type", "type"}, "secevent+jwt": {"type", "type"}, "JOSE": {"type", "type"}, "": {"malformed", "malformed"}, "none": {"verified", "type"},
	} {
		head := keystest.Head("ES256", "k")
		if head["typ"] = typ; typ == "none" {
			delete(head, "typ")
		}
		for n, j := range []jwtTest{usual, strict} {
			j.asks(keystest.Sign(t, head, claims(nil), j.key))
			if got := j.outcome(); got != want[n] {
				t.Errorf("typ %q: %s, want %s", typ, got, want[n])
			}
		}
	}
}

// TestPlaces: where the token stands, once.
func TestPlaces(t *testing.T) {
	j := newJWT(t, nil)
	byHeader := newJWT(t, func(o *JWTOptions) { o.Header, o.Strip = "X-Jwt-Assertion", true })
	byCookie := newJWT(t, func(o *JWTOptions) { o.Cookie = "session" })
	token := map[*JWT]string{}
	for _, j := range []jwtTest{j, byHeader, byCookie} {
		token[j.JWT] = j.token(t, claims(nil))
	}
	for name, c := range map[string]struct {
		jwtTest
		fields []string // $ is the token
		want   string
	}{
		"right":                        {j, []string{"Authorization: Bearer $"}, "verified"},
		"bearer":                       {j, []string{"authorization: bearer $"}, "known"},
		"more blanks":                  {j, []string{"Authorization: Bearer   $  "}, "known"},
		"no scheme":                    {j, []string{"Authorization: $"}, "missing"},
		"a scheme alone":               {j, []string{"Authorization: Bearer"}, "missing"},
		"a scheme and a blank":         {j, []string{"Authorization: Bearer "}, "missing"},
		"empty":                        {j, []string{"Authorization: "}, "missing"},
		"another scheme":               {j, []string{"Authorization: Basic $"}, "missing"},
		"a scheme like it":             {j, []string{"Authorization: Bearers $"}, "missing"},
		"a tab":                        {j, []string{"Authorization: Bearer\t$"}, "missing"},
		"two of one kind":              {j, []string{"Authorization: Bearer $", "Authorization: Bearer $"}, "several"},
		"two of two kinds":             {j, []string{"Authorization: Basic eDp5", "Authorization: Bearer $"}, "several"},
		"two spellings":                {j, []string{"Authorization: Bearer $", "AUTHORIZATION: Bearer x"}, "several"},
		"one that is empty":            {j, []string{"Authorization: ", "Authorization: Bearer $"}, "several"},
		"two in one":                   {j, []string{"Authorization: Bearer $, Bearer $"}, "malformed"},
		"in a cookie":                  {j, []string{"Cookie: session=$"}, "missing"},
		"in a field":                   {j, []string{"X-Jwt-Assertion: $"}, "missing"},
		"none":                         {j, nil, "missing"},
		"field":                        {byHeader, []string{"X-Jwt-Assertion: $"}, "verified"},
		"field, with scheme":           {byHeader, []string{"X-Jwt-Assertion: Bearer $"}, "known"},
		"field, twice":                 {byHeader, []string{"X-Jwt-Assertion: $", "X-Jwt-Assertion: $"}, "several"},
		"field, another spelling":      {byHeader, []string{"X-Jwt-Assertion: $", "X_Jwt_Assertion: $"}, "several"},
		"field, but Authorization":     {byHeader, []string{"Authorization: Bearer $"}, "missing"},
		"field and Authorization":      {byHeader, []string{"Authorization: Bearer x", "X-Jwt-Assertion: $"}, "known"},
		"cookie":                       {byCookie, []string{"Cookie: a=b; session=$; c=d"}, "verified"},
		"cookie among several":         {byCookie, []string{"Cookie: a=b", "Cookie: session=$"}, "known"},
		"cookie twice":                 {byCookie, []string{"Cookie: session=$; session=x"}, "several"},
		"cookie twice, in two":         {byCookie, []string{"Cookie: session=$", "Cookie: session=$"}, "several"},
		"cookie twice, one is empty":   {byCookie, []string{"Cookie: session=; session=$"}, "several"},
		"cookie in another case":       {byCookie, []string{"Cookie: Session=$"}, "missing"},
		"cookie of a longer name":      {byCookie, []string{"Cookie: xsession=$; session2=$"}, "missing"},
		"cookie that is empty":         {byCookie, []string{"Cookie: session="}, "missing"},
		"cookie, but in Authorization": {byCookie, []string{"Authorization: Bearer $"}, "missing"},
	} {
		// Those that are known are verified before, whatever the order is.
		if c.want == "known" {
			field := map[*JWT]string{j.JWT: "Authorization: Bearer $", byHeader.JWT: "X-Jwt-Assertion: $", byCookie.JWT: "Cookie: session=$"}[c.JWT]
			verdict(c, ask(strings.ReplaceAll(field, "$", token[c.JWT])))
		} else if c.want == "verified" {
			c.tokens.forget(c.JWT, nil)
		}
		c.outcome()
		var fields []string
		for _, f := range c.fields {
			fields = append(fields, strings.ReplaceAll(f, "$", token[c.JWT]))
		}
		verdict(c, ask(fields...))
		if got := c.outcome(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if !byHeader.Owns().Has([]byte("x_jwt_assertion")) || j.Owns().Has([]byte("Authorization")) {
		t.Error("the instance gets the token, or does not, against what the block says")
	}
}

// TestChallenge: what clients are told (RFC 6750 section 3), which is nothing of the
// token.
func TestChallenge(t *testing.T) {
	j := newJWT(t, func(o *JWTOptions) {
		o.Realm, o.Claims = `the "api"`, []Claim{{"groups", []string{"admins"}}}
	})
	const realm = `WWW-Authenticate: Bearer realm="the \"api\""`
	for name, c := range map[string]struct {
		fields []string
		status int
		reason string
		want   string
	}{
		"no token":     {nil, 401, "auth-required", realm + "\r\n"},
		"Basic":        {[]string{"Authorization: Basic eDp5"}, 401, "auth-required", realm + "\r\n"},
		"two":          {[]string{"Authorization: Bearer a", "Authorization: Bearer b"}, 400, "auth-required", realm + `, error="invalid_request", error_description="there is more than one token"` + "\r\n"},
		"malformed":    {[]string{"Authorization: Bearer <script>"}, 401, "auth-required", realm + `, error="invalid_token", error_description="the token is malformed"` + "\r\n"},
		"expired":      {[]string{"Authorization: Bearer " + j.token(t, claims(map[string]any{"exp": 1}))}, 401, "auth-required", realm + `, error="invalid_token", error_description="the token has expired"` + "\r\n"},
		"not a member": {[]string{"Authorization: Bearer " + j.token(t, claims(nil))}, 403, "auth-denied", realm + `, error="insufficient_scope", error_description="the token does not claim what is needed here"` + "\r\n"},
	} {
		reply := &policy.Reply{Values: &wire.Values{}}
		if !j.Request(ask(c.fields...), reply) || reply.Status != c.status || reply.Reason != c.reason || lines(reply.Fields) != c.want {
			t.Errorf("%s: %d %s %q", name, reply.Status, reply.Reason, lines(reply.Fields))
		}
	}
}

// TestRequiredClaims: each is needed, and of its values one.
func TestRequiredClaims(t *testing.T) {
	for name, c := range map[string]struct {
		need   []Claim
		claims map[string]any
		want   bool
	}{
		"one group":                   {[]Claim{{"groups", []string{"a", "b"}}}, map[string]any{"groups": []string{"x", "b"}}, true},
		"no group of those":           {[]Claim{{"groups", []string{"a", "b"}}}, map[string]any{"groups": []string{"x"}}, false},
		"no groups":                   {[]Claim{{"groups", []string{"a"}}}, nil, false},
		"no groups, null":             {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": nil}, false},
		"the empty list":              {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": []string{}}, false},
		"a group as text":             {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": "a"}, true},
		"groups in one text":          {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": "a,b"}, false},
		"part of a text":              {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": "aa"}, false},
		"another case":                {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": []string{"A"}}, false},
		"a member of an object":       {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": map[string]any{"a": true}}, false},
		"lists in lists":              {[]Claim{{"groups", []string{"a"}}}, map[string]any{"groups": []any{[]any{"a"}}}, false},
		"both":                        {[]Claim{{"groups", []string{"a"}}, {"role", []string{"r"}}}, map[string]any{"groups": []string{"a"}, "role": "r"}, true},
		"one of two":                  {[]Claim{{"groups", []string{"a"}}, {"role", []string{"r"}}}, map[string]any{"groups": []string{"a"}}, false},
		"a path":                      {[]Claim{{"realm_access.roles", []string{"a"}}}, map[string]any{"realm_access": map[string]any{"roles": []string{"a"}}}, true},
		"a name like a path":          {[]Claim{{"realm_access.roles", []string{"a"}}}, map[string]any{"realm_access.roles": []string{"a"}}, false},
		"a path through a text":       {[]Claim{{"a.b", []string{"a"}}}, map[string]any{"a": "b"}, false},
		"a path through a list":       {[]Claim{{"a.b", []string{"a"}}}, map[string]any{"a": []any{map[string]any{"b": "a"}}}, false},
		"an escaped dot":              {[]Claim{{`kubernetes\.io.namespace`, []string{"a"}}}, map[string]any{"kubernetes.io": map[string]any{"namespace": "a"}}, true},
		"a URL":                       {[]Claim{{"https://a.test/roles", []string{"a"}}}, map[string]any{"https://a.test/roles": []string{"a"}}, true},
		"scope":                       {[]Claim{{"scope", []string{"write"}}}, map[string]any{"scope": "read write"}, true},
		"no such scope":               {[]Claim{{"scope", []string{"write"}}}, map[string]any{"scope": "read write:all"}, false},
		"scp as a list":               {[]Claim{{"scp", []string{"write"}}}, map[string]any{"scp": []string{"write"}}, true},
		"a number":                    {[]Claim{{"level", []string{"3"}}}, map[string]any{"level": 3}, true},
		"another number":              {[]Claim{{"level", []string{"3"}}}, map[string]any{"level": 30}, false},
		"a long number":               {[]Claim{{"id", []string{"9007199254740993"}}}, map[string]any{"id": json.Number("9007199254740992")}, false},
		"true":                        {[]Claim{{"email_verified", []string{"true"}}}, map[string]any{"email_verified": true}, true},
		"false":                       {[]Claim{{"email_verified", []string{"true"}}}, map[string]any{"email_verified": false}, false},
		"what sub is":                 {[]Claim{{"sub", []string{"ann", "bob"}}}, nil, true},
		"what sub is not":             {[]Claim{{"sub", []string{"bob"}}}, nil, false},
		"null is not the text":        {[]Claim{{"x", []string{"<nil>", "null", ""}}}, map[string]any{"x": nil}, false},
		"what is missing is no empty": {[]Claim{{"x", []string{""}}}, nil, false},
	} {
		j := newJWT(t, func(o *JWTOptions) { o.Claims = c.need })
		want := "403 auth-denied"
		if c.want {
			want = passAnn
		}
		if got := j.asks(j.token(t, claims(c.claims))); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestForwardedClaims: whatever a claim is, what arrives is one value of one field, that
// no other claim would make.
func TestForwardedClaims(t *testing.T) {
	j := newJWT(t, func(o *JWTOptions) {
		o.Forward = []ForwardedClaim{{"X-User", "sub"}, {"X-Groups", "groups"}, {"X-Role", "a.b"}}
	})
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"texts":             {map[string]any{"groups": []string{"a", "b"}, "a": map[string]any{"b": "r"}}, "X-User: ann\r\nX-Groups: a,b\r\nX-Role: r\r\n"},
		"none":              {map[string]any{"sub": missing{}}, ""},
		"null":              {map[string]any{"sub": nil}, ""},
		"empty":             {map[string]any{"sub": "", "groups": []string{"", ""}}, ""},
		"an object":         {map[string]any{"sub": map[string]any{"x": 1}}, ""},
		"a number":          {map[string]any{"sub": json.Number("12345678901234567890")}, "X-User: 12345678901234567890\r\n"},
		"a bool":            {map[string]any{"sub": true}, "X-User: true\r\n"},
		"a line end":        {map[string]any{"sub": "a\r\nX-Admin: 1"}, "X-User: a%0D%0AX-Admin: 1\r\n"},
		"a zero":            {map[string]any{"sub": "ann\x00"}, "X-User: ann%00\r\n"},
		"a tab":             {map[string]any{"sub": "a\tb"}, "X-User: a%09b\r\n"},
		"blanks":            {map[string]any{"sub": " ann lee "}, "X-User: %20ann lee%20\r\n"},
		"a blank":           {map[string]any{"sub": " "}, "X-User: %20\r\n"},
		"no ASCII":          {map[string]any{"sub": "jürgen"}, "X-User: j%C3%BCrgen\r\n"},
		"a new line of C1":  {map[string]any{"sub": "a\u0085b\u2028"}, "X-User: a%C2%85b%E2%80%A8\r\n"},
		"escaped":           {map[string]any{"sub": "ann%00"}, "X-User: ann%2500\r\n"},
		"a comma in a list": {map[string]any{"sub": "a,b", "groups": []string{"x,admin", "y"}}, "X-User: a,b\r\nX-Groups: x%2Cadmin,y\r\n"},
		"a mixed list":      {map[string]any{"groups": []any{"a", 1, nil, map[string]any{}, []any{"b"}, true}}, "X-User: ann\r\nX-Groups: a,1,true\r\n"},
		"delete":            {map[string]any{"sub": "ann\x7f"}, "X-User: ann%7F\r\n"},
	} {
		if got := j.asks(j.token(t, claims(c.claims))); got != "pass "+c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	j.outcome()
	long := j.token(t, claims(map[string]any{"sub": strings.Repeat("ü", 4096/6+1)}))
	if got := j.asks(long); got != "401 auth-required" || j.outcome() != "unsendable" {
		t.Errorf("a long claim: %q", got)
	}
	for _, name := range []string{"x-user", "X_USER", "X.User", "x-groups", "X-Role"} {
		if !j.Owns().Has([]byte(name)) {
			t.Errorf("%s may be the client's", name)
		}
	}
}

// TestLongTokens: one that is too long costs nothing, and is counted.
func TestLongTokens(t *testing.T) {
	j := newJWT(t, func(o *JWTOptions) { o.MaxToken = 1024 })
	fits := j.token(t, claims(map[string]any{"x": strings.Repeat("x", 400)}))
	if got := j.asks(fits); len(fits) > 1024 || got != passAnn {
		t.Errorf("%d bytes: %q", len(fits), got)
	}
	j.outcome()
	if got := j.asks(j.token(t, claims(map[string]any{"x": strings.Repeat("x", 1000)}))); got != "401 auth-required" || j.outcome() != "too-long" {
		t.Errorf("a long one: %q", got)
	}
}

// TestKnownTokens: what was verified is not verified again until it expires; another
// auth, or the same one made anew, does not know it.
func TestKnownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, nil)
		token := j.token(t, claims(map[string]any{"exp": time.Now().Unix() + 100}))
		for range 3 {
			if got := j.asks(token); got != passAnn {
				t.Fatal(got)
			}
		}
		if j.counts[tokenVerified].Load() != 1 || j.counts[tokenKnown].Load() != 2 {
			t.Errorf("verified %d times, known %d times", j.counts[tokenVerified].Load(), j.counts[tokenKnown].Load())
		}
		o := j.options
		o.Claims = []Claim{{"groups", []string{"admins"}}}
		strict, err := NewJWT("api", o, j.keys, j.tokens)
		if err != nil {
			t.Fatal(err)
		}
		if got := verdict(strict, ask("Authorization: Bearer "+token)); got != "403 auth-denied" {
			t.Errorf("another auth of the same keys: %q", got)
		}
		time.Sleep(159 * time.Second)
		if got := j.asks(token); got != passAnn {
			t.Errorf("a second before its end: %q", got)
		}
		time.Sleep(time.Second)
		if got := j.asks(token); got != "401 auth-required" {
			t.Errorf("at its end: %q", got)
		}
		if n := j.tokens.Status().Known; n != 1 {
			t.Errorf("%d tokens are known", n)
		}
		j.Close()
		if s := j.tokens.Status(); s.Known != 0 || s.Bytes != 0 {
			t.Errorf("after its end: %+v", s)
		}
		j.asks(j.token(t, claims(nil)))
		if s := j.tokens.Status(); s.Known != 0 {
			t.Errorf("a token after its end: %+v", s)
		}
	})
}

// rotating is a source whose keys a test changes.
type rotating struct{ set atomic.Pointer[keys.Set] }

func (r *rotating) Current() *keys.Set { return r.set.Load() }
func (r *rotating) Newer(*keys.Set, keys.Wait) (*keys.Set, error) {
	if r.set.Load() == nil {
		return nil, keys.ErrUnavailable
	}
	return nil, keys.ErrUnknownKey
}

// TestWithdrawnKey: a token that was verified with a key that is no more is refused from
// then on, and forgotten. Without any key nobody is let in.
func TestWithdrawnKey(t *testing.T) {
	j := newJWT(t, nil)
	first := j.keys.Current()
	source := &rotating{}
	source.set.Store(first)
	p, err := NewJWT("api", j.options, source, j.tokens)
	if err != nil {
		t.Fatal(err)
	}
	token := j.token(t, claims(nil))
	for range 2 {
		if got := verdict(p, ask("Authorization: Bearer "+token)); got != passAnn {
			t.Fatal(got)
		}
	}
	source.set.Store(newJWT(t, nil).keys.Current()) // another key with the same kid
	if got := verdict(p, ask("Authorization: Bearer "+token)); got != "401 auth-required" || j.tokens.Status().Known != 0 {
		t.Errorf("%q; %d are known", got, j.tokens.Status().Known)
	}
	source.set.Store(nil)
	for name, request := range map[string]*asked{"this token": ask("Authorization: Bearer " + token), "another one": ask("Authorization: Bearer " + j.token(t, claims(nil)))} {
		if got := verdict(p, request); got != "503 auth-unavailable" {
			t.Errorf("no key is known, %s: %q", name, got)
		}
	}
	if got := verdict(p, ask()); got != "401 auth-required" {
		t.Errorf("no key is known, no token: %q", got)
	}
}

// TestTokenMemory: whatever comes, no more is kept than may be, and what it takes is not
// more than what is counted. Others find their tokens known again.
func TestTokenMemory(t *testing.T) {
	j := newJWT(t, func(o *JWTOptions) {
		o.Forward = []ForwardedClaim{{"X-User", "sub"}, {"X-Groups", "groups"}}
	})
	const limit = 1 << 20
	j.tokens.SetLimit(limit)
	set, now := j.keys.Current(), time.Now()
	before := heapTaken()
	for n := range 20_000 {
		value := []byte(strings.Repeat("x", n%300))
		v := &verified{by: j.JWT, set: set, until: now.Add(time.Hour), fields: []wire.Field{{Name: j.forward[0].field, Value: value}, {Name: j.forward[1].field, Value: value}}}
		d := j.tokens.digest(j.serial, fmt.Append(nil, n))
		if j.tokens.keep(d, v, now); j.tokens.find(d, set, now) == nil {
			t.Fatal("a token that was kept just now is not known")
		}
		if n%1000 == 0 {
			if s := j.tokens.Status(); s.Bytes > limit {
				t.Fatalf("%+v", s)
			}
		}
	}
	s, took := j.tokens.Status(), heapTaken()-before
	t.Logf("%d tokens, %d bytes counted, %d taken", s.Known, s.Bytes, took)
	if s.Bytes > limit || s.Bytes < limit*3/4 || s.Displaced == 0 || took > s.Bytes {
		t.Errorf("%+v, %d bytes taken", s, took)
	}
	huge := &verified{by: j.JWT, set: set, until: now.Add(time.Hour), fields: []wire.Field{{Value: make([]byte, limit/16)}}}
	j.tokens.keep(digest{1}, huge, now)
	if after := j.tokens.Status(); after.Known < s.Known/2 || after.Bytes > limit {
		t.Errorf("after a huge one: %+v", after)
	}
	j.tokens.forget(j.JWT, nil)
	if s := j.tokens.Status(); s.Known != 0 || s.Bytes != 0 {
		t.Errorf("afterwards: %+v", s)
	}
	j.tokens.SetLimit(0)
	token := j.token(t, claims(nil))
	if a, b := j.asks(token), j.asks(token); a != b || j.tokens.Status().Known != 0 {
		t.Errorf("without a cache: %q, %q, %+v", a, b, j.tokens.Status())
	}
	runtime.KeepAlive(j)
}

// TestSmallTokenMemory: the same where the instance is told nothing.
func TestSmallTokenMemory(t *testing.T) {
	j := newJWT(t, nil)
	j.tokens.SetLimit(4 << 20)
	set, now, before := j.keys.Current(), time.Now(), heapTaken()
	for n := range 20_000 {
		j.tokens.keep(j.tokens.digest(j.serial, fmt.Append(nil, n)), &verified{by: j.JWT, set: set, until: now.Add(time.Hour)}, now)
	}
	s, took := j.tokens.Status(), heapTaken()-before
	t.Logf("%d tokens, %d bytes counted, %d taken", s.Known, s.Bytes, took)
	if took > s.Bytes {
		t.Errorf("%d bytes are taken, %d counted", took, s.Bytes)
	}
	d := j.tokens.digest(j.serial, fmt.Append(nil, 19_999))
	if j.tokens.find(d, set, now) == nil || j.tokens.find(d, &keys.Set{}, now) != nil || j.tokens.find(d, nil, now) != nil {
		t.Error("a token is known with other keys, or not with its own")
	}
	runtime.KeepAlive(j)
}

func heapTaken() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAwaiting: who waits for keys that do not come takes no place of others.
func TestAwaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, nil)
		source := &hanging{end: make(chan struct{})}
		p, err := NewJWT("api", j.options, source, j.tokens)
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		from := func(n byte) *asked {
			a := ask("Authorization: Bearer " + j.token(t, claims(nil)))
			a.client = address(int(n)).Addr()
			return a
		}
		try := func(n byte) {
			all.Go(func() {
				v := fmt.Sprint(n, " ", verdict(p, from(n)))
				mu.Lock()
				got[v]++
				mu.Unlock()
			})
		}
		for range 256 {
			try(1)
		}
		synctest.Wait()
		try(2)
		synctest.Wait()
		mu.Lock()
		if got["1 429 auth-busy"] != 192 || len(got) != 1 {
			t.Errorf("while they wait: %v", got)
		}
		mu.Unlock()
		close(source.end)
		all.Wait()
		if taken, _ := p.awaiting.Taken(); got["1 503 auth-unavailable"] != 64 || got["2 503 auth-unavailable"] != 1 || taken != 0 {
			t.Errorf("at the end: %v, %d wait", got, taken)
		}
		gone := from(3)
		gone.gone = make(chan struct{})
		close(gone.gone)
		if v := verdict(p, gone); v != "0 auth-busy" && v != "0 " {
			t.Errorf("who has left: %q", v)
		}
	})
}

// hanging is a source that never has keys.
type hanging struct{ end chan struct{} }

func (h *hanging) Current() *keys.Set { return nil }
func (h *hanging) Newer(_ *keys.Set, wait keys.Wait) (*keys.Set, error) {
	if err := wait(func(gone <-chan struct{}) {
		select {
		case <-gone:
		case <-h.end:
		}
	}); err != nil {
		return nil, err
	}
	return nil, keys.ErrUnavailable
}

// TestJWTOptions: what is refused, and half of it said is not open.
func TestJWTOptions(t *testing.T) {
	set := newJWT(t, nil).keys
	remote, err := keys.NewRemote(keys.RemoteOptions{URL: "https://issuer.test/keys?token=secret"})
	if err != nil {
		t.Fatal(err)
	}
	hs, err := keys.ParseAlgorithms([]string{"HS256"})
	if err != nil {
		t.Fatal(err)
	}
	good := JWTOptions{Issuer: testIssuer, Audience: []string{"api"}}
	for want, change := range map[string]func(*JWTOptions){
		"issuer is missing":        func(o *JWTOptions) { o.Issuer = "" },
		"audience is missing":      func(o *JWTOptions) { o.Audience = nil },
		"exclude each other":       func(o *JWTOptions) { o.AnyAudience = true },
		"audience has an empty":    func(o *JWTOptions) { o.Audience = []string{""} },
		"types has an empty":       func(o *JWTOptions) { o.Types = []string{""} },
		"in one place":             func(o *JWTOptions) { o.Header, o.Cookie = "X-Token", "token" },
		"\"Host\"":                 func(o *JWTOptions) { o.Header = "Host" },
		"\"Cookie\"":               func(o *JWTOptions) { o.Header = "Cookie" },
		"name of a cookie":         func(o *JWTOptions) { o.Cookie = "a b" },
		"cookie is not taken out":  func(o *JWTOptions) { o.Cookie, o.Strip = "a", true },
		"realm":                    func(o *JWTOptions) { o.Realm = "a\r\nb" },
		"clock_skew":               func(o *JWTOptions) { o.ClockSkew = time.Hour },
		"max_token":                func(o *JWTOptions) { o.MaxToken = 1 << 20 },
		"wants a value":            func(o *JWTOptions) { o.Claims = []Claim{{"groups", nil}} },
		"\"\" is not the name":     func(o *JWTOptions) { o.Claims = []Claim{{"", []string{"a"}}} },
		"path of claims":           func(o *JWTOptions) { o.Claims = []Claim{{"a..b", []string{"a"}}} },
		"more than 32":             func(o *JWTOptions) { o.Claims = make([]Claim, 33) },
		"\"X_User\" is not":        func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"X_User", "sub"}} },
		"\"Content-Length\"":       func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"Content-Length", "sub"}} },
		"\"X-Forwarded-For\"":      func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"X-Forwarded-For", "sub"}} },
		"may have the token":       func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"Authorization", "sub"}} },
		"\"x-token\" is the field": func(o *JWTOptions) { o.Header, o.Forward = "X-Token", []ForwardedClaim{{"x-token", "sub"}} },
		"given twice":              func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"X-User", "sub"}, {"x-user", "email"}} },
		"\".sub\" is not a path":   func(o *JWTOptions) { o.Forward = []ForwardedClaim{{"X-User", ".sub"}} },
		"need jwks_file":           func(o *JWTOptions) { o.Algorithms = hs },
	} {
		o := good
		change(&o)
		source := set
		if o.Algorithms != nil {
			source = remote
		}
		if _, err := NewJWT("api", o, source, NewTokens()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	good.Claims = []Claim{{"groups", []string{"a", "b"}}}
	good.Forward = []ForwardedClaim{{"X-User", "sub"}, {"X-Groups", "groups"}}
	j, err := NewJWT("corp", good, remote, NewTokens())
	if err != nil {
		t.Fatal(err)
	}
	const want = "auth: corp asks for a token of https://issuer.test for api, with keys from https://issuer.test; groups: a or b; forwards sub as X-User groups as X-Groups"
	if got := j.Explain(); got != want {
		t.Errorf("explained as %q, want %q", got, want)
	}
}
