package consul

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTokenFileThatCannotBeRead: a refusal, and a list that lacks what nobody without a token
// may read, say so, and not that a policy is missing.
func TestTokenFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, answer := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "Permission denied", http.StatusForbidden) },
		"empty": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "7")
			w.Header().Set("X-Consul-Default-ACL-Policy", "deny")
			io.WriteString(w, "{}")
		},
	} {
		s := httptest.NewServer(answer)
		defer s.Close()
		for _, file := range []string{filepath.Join(dir, "none"), dir, empty} {
			c, err := NewClient(Options{Address: s.URL, TokenFile: file})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseIdleConnections()
			err = c.CheckAccess(t.Context())
			var missing *AccessError
			if err == nil || errors.As(err, &missing) || !strings.Contains(err.Error(), "the token file cannot be read") || !strings.Contains(err.Error(), file) {
				t.Errorf("%s, %s: %v", name, file, err)
			}
		}
	}
}
