package agentapi

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Token gives the token to send. The file is read for every request: requests are few, the
// file is a few hundred bytes in a tmpfs, and so there is no rule about re-reading that
// could be wrong.
type Token struct {
	// File is read if it is not empty; Fixed is sent until it could be read.
	File, Fixed string
	// Variable is where Fixed comes from, for errors.
	Variable string

	mu      sync.Mutex
	last    string // the last content that could be read; guarded by mu
	problem error  // why it has never been read; guarded by mu
}

// Now returns the token, or "" when there is none.
func (t *Token) Now() string {
	if t.File == "" {
		return t.Fixed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Whoever renews it replaces the file; if it is missing or empty for a moment,
	// requests must not become anonymous.
	b, err := os.ReadFile(t.File)
	switch s := strings.TrimSpace(string(b)); {
	case err == nil && s != "":
		t.last, t.problem = s, nil
	case t.last != "":
	case err != nil:
		t.problem = err
	default:
		t.problem = fmt.Errorf("%s is empty", t.File)
	}
	if t.last == "" {
		return t.Fixed
	}
	return t.last
}

// Unread is why the token file has never been read, nil where it has, or there is none.
func (t *Token) Unread() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem
}

// Advice is what to do about a refusal because the file has never been read; empty where
// that is not the reason.
func (t *Token) Advice() string {
	err := t.Unread()
	if err == nil {
		return ""
	}
	return fmt.Sprintf("the token file cannot be read (%v): it must be readable by the user that serai runs as", err)
}

// Origin says where the token comes from, for an invalid token.
func (t *Token) Origin() string {
	if t.File != "" {
		return "the token file " + t.File
	}
	return t.Variable
}

// Plausible reports whether a token can be sent: it is empty, or printable ASCII without
// white space, like identities and secret IDs.
func Plausible(token string) bool {
	return strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
