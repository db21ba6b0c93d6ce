package auth

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"serai/policy"
	"serai/policy/auth/keys/keystest"
	"serai/wire"
)

// FuzzToken: nothing but what was signed gets in, in no place and no spelling; no answer
// has a byte of the request.
func FuzzToken(f *testing.F) {
	j := newJWT(f, nil)
	good := j.token(f, claims(nil))
	f.Add(good)
	f.Add("..")
	f.Add(keystest.Sign(f, map[string]any{"alg": "none"}, claims(nil), nil))
	f.Add(keystest.Sign(f, map[string]any{"alg": "HS256", "kid": "k"}, claims(nil), []byte("k")))
	f.Add(keystest.Sign(f, `{"alg":"ES256","kid":"k","crit":["b64"],"b64":false}`, claims(nil), j.key))
	f.Add(strings.Replace(good, ".", ".e30.", 1))
	f.Fuzz(func(t *testing.T, token string) {
		a := ask()
		a.head.Fields = []wire.Field{{Name: []byte("Authorization"), Value: []byte("Bearer " + token)}}
		reply := &policy.Reply{Values: &wire.Values{}}
		if !j.Request(a, reply) {
			if strings.Trim(token, " ") != good {
				t.Fatalf("%q gets in", token)
			}
			return
		}
		known := []string{}
		for _, c := range j.challenges {
			known = append(known, string(c.Value))
		}
		if len(reply.Fields) != 1 || !slices.Contains(known, string(reply.Fields[0].Value)) || len(reply.Body) > 0 {
			t.Fatalf("%q is answered %+v", token, reply)
		}
	})
}

// FuzzClaims: whatever an issuer signs, what is let in is for us and has not expired, and
// what the instance is told is of printable ASCII and bounded.
func FuzzClaims(f *testing.F) {
	j := newJWT(f, func(o *JWTOptions) {
		o.Forward = []ForwardedClaim{{"X-User", "sub"}, {"X-Groups", "a.groups"}}
		o.Claims = []Claim{{"scope", []string{"read"}}}
		o.MaxToken = maxMaxToken
	})
	for _, text := range []string{
		`{"iss":"https://issuer.test","aud":["x","api"],"exp":4e9,"scope":"read","sub":"\r\n","a":{"groups":["a,b","ü"]}}`,
		`{"iss":"https://issuer.test","aud":"api","exp":4000000000,"nbf":1.5,"scope":["read"],"sub":1e5}`,
		`{"iss":"https://issuer.test","aud":"api","exp":1e400}`, `{"exp":1,"\u0065xp":2}`, `[]`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a := ask("Authorization: Bearer " + j.token(t, text))
		reply := &policy.Reply{Values: &wire.Values{}}
		if j.Request(a, reply) {
			return
		}
		var c struct {
			Issuer  string          `json:"iss"`
			Expires json.Number     `json:"exp"`
			Aud     json.RawMessage `json:"aud"`
			Scope   json.RawMessage `json:"scope"`
		}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatalf("%q gets in: %v", text, err)
		}
		expires, err := c.Expires.Float64()
		if err != nil || c.Issuer != testIssuer || expires < float64(time.Now().Add(-2*time.Minute).Unix()) || len(c.Aud) == 0 || len(c.Scope) == 0 {
			t.Fatalf("%q gets in", text)
		}
		all := 0
		for _, field := range a.learned.Forward {
			all += len(field.Value)
			for _, b := range field.Value {
				if b < ' ' || b > '~' {
					t.Fatalf("%q is told as %q", text, field.Value)
				}
			}
		}
		if all > 8<<10 {
			t.Fatalf("%d bytes are told", all)
		}
	})
}

// FuzzClaimValues: two claims that differ never make the same value, unless both are as
// good as none.
func FuzzClaimValues(f *testing.F) {
	f.Add("a,b", "a%2Cb")
	f.Add(" a", "a")
	f.Fuzz(func(t *testing.T, a, b string) {
		if a != b && (claimValue(a) == claimValue(b) || a != "" && b != "" && claimValue([]any{a}) == claimValue([]any{b})) {
			t.Fatalf("%q and %q are the same", a, b)
		}
		if a != "" && b != "" && strings.Count(claimValue([]any{a, b}), ",") != 1 {
			t.Fatalf("%q and %q are not two groups", a, b)
		}
	})
}
