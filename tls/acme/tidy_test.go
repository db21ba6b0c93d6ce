package acme

import (
	"context"
	"testing"

	"serai/tls/certstore"
)

// TestTokensOfTheDead: tokens are removed when two checks in a row found them;
// accounts, tokens in use and changed ones stay.
func TestTokensOfTheDead(t *testing.T) {
	store, err := certstore.NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	e := &engine{ca: "ca.test", storage: &storage{store: store}}
	l := &leader{Issuer: &Issuer{options: Options{Store: store}, engine: e}, busy: map[string]*task{"busy.test": {}}}
	put := func(key, value string) {
		if err := e.storage.Store(ctx, key, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	put("acme/ca.test/users/a/a.json", "account")
	for _, host := range []string{"dead.test", "busy.test", "again.test"} {
		put(e.tokenKey(host), "1")
	}
	seen := l.tidyTokens(ctx, nil)
	put(e.tokenKey("again.test"), "2")
	put(e.tokenKey("new.test"), "1")
	l.tidyTokens(ctx, seen)
	for key, want := range map[string]bool{
		"acme/ca.test/users/a/a.json": true, e.tokenKey("dead.test"): false, e.tokenKey("busy.test"): true,
		e.tokenKey("again.test"): true, e.tokenKey("new.test"): true,
	} {
		if got := e.storage.Exists(ctx, key); got != want {
			t.Errorf("%s is there: %v, want %v", key, got, want)
		}
	}
}
