package keys

import "testing"

// FuzzParseSet: no document makes a set that is empty, or whose keys could sign with what
// is not allowed.
func FuzzParseSet(f *testing.F) {
	f.Add(document(f, jwkOf(f, rsaKey, map[string]any{"kid": "r", "use": "sig"}), jwkOf(f, ecKey, nil)), false)
	f.Add(document(f, map[string]any{"kty": "oct", "k": b64(secret)}), true)
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), false)
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AA","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`), false)
	f.Fuzz(func(t *testing.T, text []byte, secret bool) {
		s, err := ParseSet(text, secret)
		if err != nil {
			return
		}
		if s.Len() == 0 || s.Len() > mostKeys {
			t.Fatalf("%d keys", s.Len())
		}
		for _, k := range s.keys {
			if _, isSecret := k.public.([]byte); isSecret != secret {
				t.Fatalf("%T", k.public)
			}
		}
		again, err := ParseSet(text, secret)
		if err != nil || again.sum != s.sum {
			t.Fatalf("the same text makes another set: %v", err)
		}
	})
}
