//go:build !race

package auth

import (
	"testing"

	"serai/policy"
	"serai/policy/auth/keys"
	"serai/policy/auth/keys/keystest"
	"serai/wire"
)

// TestAllocNothing: a password that was right a moment ago costs no memory.
func TestAllocNothing(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "x"))
	a := ask("Accept: */*", basic("ann", "x"))
	reply := &policy.Reply{Values: &wire.Values{}}
	once := func() {
		a.learned.Reset()
		if b.Request(a, reply) {
			t.Fatal("refused")
		}
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBasicWarm(b *testing.B) {
	p := newBasic(b, BasicOptions{}, "ann:"+bcrypted(b, "x"))
	a := ask("Accept: */*", basic("ann", "x"))
	reply := &policy.Reply{Values: &wire.Values{}}
	for b.Loop() {
		a.learned.Reset()
		p.Request(a, reply)
	}
}

// TestAllocNothingForKnownTokens: a token that was verified before costs no memory.
func TestAllocNothingForKnownTokens(t *testing.T) {
	j := newJWT(t, nil)
	a := ask("Accept: */*", "Authorization: Bearer "+j.token(t, claims(nil)))
	reply := &policy.Reply{Values: &wire.Values{}}
	once := func() {
		a.learned.Reset()
		if j.Request(a, reply) {
			t.Fatal("refused")
		}
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkToken compares a token that is verified each time with one that is known.
func BenchmarkToken(b *testing.B) {
	rsaKey := keystest.RSA(b, 2048)
	ecKey := keystest.EC(b)
	set, err := keys.ParseSet(keystest.Document(b, keystest.JWK(b, rsaKey, map[string]any{"kid": "r"}), keystest.JWK(b, ecKey, map[string]any{"kid": "e"})), false)
	if err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		head    map[string]any
		private any
		limit   int64
	}{
		"RS256 verified": {keystest.Head("RS256", "r"), rsaKey, 0}, "RS256 known": {keystest.Head("RS256", "r"), rsaKey, 1 << 20},
		"ES256 verified": {keystest.Head("ES256", "e"), ecKey, 0}, "ES256 known": {keystest.Head("ES256", "e"), ecKey, 1 << 20},
	} {
		tokens := NewTokens()
		tokens.SetLimit(c.limit)
		p, err := NewJWT("api", JWTOptions{Issuer: testIssuer, Audience: []string{testAudience}, Forward: []ForwardedClaim{{"X-User", "sub"}}}, set, tokens)
		if err != nil {
			b.Fatal(err)
		}
		a := ask("Authorization: Bearer " + keystest.Sign(b, c.head, claims(map[string]any{"name": "Ann Lee", "groups": []string{"a", "b", "c"}, "scope": "openid profile email"}), c.private))
		reply := &policy.Reply{Values: &wire.Values{}}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.learned.Reset()
				if p.Request(a, reply) {
					b.Fatal("refused")
				}
			}
		})
	}
}
