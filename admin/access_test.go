package admin_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"serai/admin"
	"serai/router"
)

// TestTokens: what is no token is refused as a whole, without being quoted, and lets those of
// before in.
func TestTokens(t *testing.T) {
	const good = "0123456789abcdef"
	for text, want := range map[string]string{
		good:                                    "",
		"# one\r\n\r\n " + good + "x \r\n":      "",
		strings.Repeat(good+"\n", 16):           "",
		strings.Repeat(good+"\n", 17):           "17 tokens are more than 16",
		"":                                      "there is no token in it",
		"# nothing\n":                           "there is no token in it",
		good[1:]:                                "line 1: a token has 16 to 4096 bytes",
		good + "\n" + strings.Repeat("x", 4097): "line 2: a token has 16 to 4096 bytes",
		"two words of a secret":                 "line 1: a token has letters",
		good + "\x00":                           "line 1: a token has letters",
		good + "ü":                              "line 1: a token has letters",
	} {
		all, err := admin.ParseTokens([]byte(text))
		if want == "" && (err != nil || len(all) == 0) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error has the token: %v", err)
		}
	}
}

// TestFromElsewhere: what other machines may, without anybody being asked and with a token.
func TestFromElsewhere(t *testing.T) {
	const token = "0123456789abcdef"
	known := new(admin.Tokens)
	if err := known.Set([]byte(token)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		access                admin.Access
		from                  string
		routes, profiles, put int
	}{
		{admin.Access{}, "127.0.0.1:5", 200, 200, 200},
		{admin.Access{}, "[::1]:5", 200, 200, 200},
		{admin.Access{}, "[::ffff:127.0.0.1]:5", 200, 200, 200},
		{admin.Access{}, "192.0.2.1:5", 200, 403, 403},
		{admin.Access{}, "@", 200, 403, 403},
		{admin.Access{Profiles: true}, "192.0.2.1:5", 200, 200, 403},
		{admin.Access{Tokens: known}, "192.0.2.1:5", 200, 403, 200},
		{admin.Access{Tokens: known, Profiles: true}, "192.0.2.1:5", 200, 200, 200},
		{admin.Access{Tokens: new(admin.Tokens)}, "127.0.0.1:5", 503, 503, 503}, // no token is known yet
	} {
		h := newNode(t, admin.Options{Access: c.access, LogLevel: new(slog.LevelVar)}, router.Options{}).admin.Handler()
		ask := func(method, path string) int {
			r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader("debug"))
			r.RemoteAddr = c.from
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		got := fmt.Sprint(ask(http.MethodGet, "/routes"), ask(http.MethodGet, "/debug/pprof/cmdline"), ask(http.MethodPut, "/log-level"))
		if want := fmt.Sprint(c.routes, c.profiles, c.put); got != want {
			t.Errorf("from %s with %+v: %s, want %s", c.from, c.access, got, want)
		}
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/symbol"} {
			if got := ask(http.MethodGet, path); got != c.profiles {
				t.Errorf("%s from %s with %+v: %d, want %d", path, c.from, c.access, got, c.profiles)
			}
		}
	}
}
