package nomad_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/nomad"
)

// TestTokenFile: the file is read again for each request.
func TestTokenFile(t *testing.T) {
	var got string
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("X-Nomad-Token")
		io.WriteString(w, `"leader"`)
	}))
	file := filepath.Join(t.TempDir(), "nomad_token")
	c := connect(t, nomad.Options{Address: url, TokenFile: file, Token: "fixed"})
	for _, step := range []struct {
		what string
		do   func() error
		want string
	}{
		{"before the file is there", func() error { return nil }, "fixed"},
		{"empty file", func() error { return os.WriteFile(file, nil, 0o600) }, "fixed"},
		{"first identity", func() error { return os.WriteFile(file, []byte("first.identity.x\n"), 0o600) }, "first.identity.x"},
		{"rewritten", func() error { return os.WriteFile(file, []byte("second.identity.x"), 0o600) }, "second.identity.x"},
		{"truncated to be rewritten", func() error { return os.Truncate(file, 0) }, "second.identity.x"},
		{"gone for a moment", func() error { return os.Remove(file) }, "second.identity.x"},
		{"unreadable", func() error { return os.Mkdir(file, 0o700) }, "second.identity.x"},
		{"replaced", func() error {
			if err := os.WriteFile(file+".tmp", []byte("  third.identity.x \n"), 0o600); err != nil {
				return err
			}
			if err := os.Remove(file); err != nil {
				return err
			}
			return os.Rename(file+".tmp", file)
		}, "third.identity.x"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leader(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if got != step.want {
			t.Errorf("%s: sent %q; want %q", step.what, got, step.want)
		}
	}
	for _, junk := range []string{"a\nb", "a b", "a\x00b", "ä", "\xff"} {
		if err := os.WriteFile(file, []byte(junk), 0o600); err != nil {
			t.Fatal(err)
		}
		got = "nothing was sent"
		_, err := c.Leader(testContext(t))
		check(t, err, nomad.ErrTokenRefused, "ask for the leader", "characters that no token has", file)
		if got != "nothing was sent" {
			t.Errorf("%q was sent as %q", junk, got)
		}
	}
}

// TestTokenFileThatCannotBeRead: a refusal says so, and not that a policy is missing.
func TestTokenFileThatCannotBeRead(t *testing.T) {
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Nomad-Token") != "" {
			http.Error(w, "Permission denied", http.StatusForbidden)
			return
		}
		http.Error(w, "", http.StatusUnauthorized)
	}))
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(dir, "none"), dir, empty} {
		c, err := nomad.NewClient(nomad.Options{Address: url, TokenFile: file})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Leader(testContext(t))
		c.CloseIdleConnections()
		check(t, err, nomad.ErrTokenRefused, "ask for the leader", "the token file cannot be read", file)
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := connect(t, nomad.Options{Address: url, TokenFile: file})
	for range 2 { // the second time from memory
		_, err := c.Leader(testContext(t))
		check(t, err, nomad.ErrForbidden, "ask for the leader", "lacks a capability")
		os.Remove(file)
	}
}

// TestNoTokenInErrors echoes the token into every part of an answer that an error may
// quote. check makes sure that no error contains it.
func TestNoTokenInErrors(t *testing.T) {
	quoted, _ := json.Marshal(secret)
	event := `{"Index":9,"Events":[{"Topic":"Service","Type":%s,"Index":9,"Payload":{"Service":{"ID":%s,"ServiceName":%s,"Namespace":""}}}]}` + "\n"
	// The token lies across each place at which something is cut.
	var across []string
	for _, at := range []int{200, 500, 3200, 4096} {
		for back := 1; back < len(secret); back += 7 {
			across = append(across, strings.Repeat("x", at-back)+secret)
			across = append(across, strings.Repeat(" ", at-back)+secret)
		}
	}
	bodies := append(across,
		secret, string(quoted), "<html>"+secret, secret+secret+secret+secret+secret+secret+secret+secret,
		fmt.Sprintf(`[{"Namespace":%s,"Services":[{"Name":"x"}],"ServiceName":%[1]s,"ID":%[1]s,"Path":%[1]s}]`, quoted),
		fmt.Sprintf(`{"Path":%s,"Namespace":%[1]s}`, quoted),
		fmt.Sprintf(`{"Path":%s,"Items":{%[1]s:7}}`, quoted),
		fmt.Sprintf(event, quoted, `""`, quoted), fmt.Sprintf(event, `""`, quoted, quoted),
	)
	for i, body := range bodies {
		statuses := []int{200, 301, 400, 401, 403, 404, 500}
		if i < len(across) {
			statuses = []int{200, 500}
		}
		for _, status := range statuses {
			url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Nomad-Index", "7")
				w.Header().Set("Location", "/"+secret)
				w.WriteHeader(status)
				io.WriteString(w, body)
			}))
			var log strings.Builder
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c := connect(t, nomad.Options{Address: url, Logger: logger})
			for _, call := range calls {
				_, err := call.do(testContext(t), c)
				clean(t, fmt.Sprintf("body %d, %d: %s", i, status, call.name), err)
			}
			if strings.Contains(log.String(), secret) {
				t.Errorf("the log shows the token: %s", &log)
			}
			if status != 200 && i >= len(across) && !strings.Contains(log.String(), "[token]") {
				t.Errorf("the log does not say where a token stood: %s", &log)
			}
		}
	}
	for _, raw := range []string{
		secret + "\r\n", "HTTP/1.1 " + secret + "\r\n\r\n", "HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n", secret + " 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-Nomad-Index: " + secret + "\r\nContent-Length: 2\r\n\r\n[]",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: " + secret + "\r\nContent-Length: 2\r\n\r\n{}",
		strings.Repeat("x", 490) + secret + "\r\n",
	} {
		c := connect(t, nomad.Options{Address: speak(t, raw)})
		for _, call := range calls {
			_, err := call.do(testContext(t), c)
			clean(t, fmt.Sprintf("%q: %s", raw, call.name), err)
		}
	}
}

// clean fails the test if err shows the token or the better part of it.
func clean(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		return
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if strings.Contains(text, secret[:16]) || strings.Contains(text, secret[16:]) {
			t.Errorf("%s: %s\nshows the token", what, text)
		}
	}
}
