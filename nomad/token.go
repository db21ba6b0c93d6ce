package nomad

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// tokenSource gives the token to send. The file is read for every request: requests are
// few, the file is a few hundred bytes in a tmpfs, and so there is no rule about
// re-reading that could be wrong.
type tokenSource struct {
	file  string
	fixed string

	mu      sync.Mutex
	last    string // the last content that could be read; guarded by mu
	problem error  // why it has never been read; guarded by mu
}

// token returns the token, or "" when there is none.
func (t *tokenSource) token() string {
	if t.file == "" {
		return t.fixed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Nomad replaces the file; if it is missing or empty for a moment, requests must
	// not become anonymous.
	b, err := os.ReadFile(t.file)
	switch s := strings.TrimSpace(string(b)); {
	case err == nil && s != "":
		t.last, t.problem = s, nil
	case t.last != "":
	case err != nil:
		t.problem = err
	default:
		t.problem = fmt.Errorf("%s is empty", t.file)
	}
	if t.last == "" {
		return t.fixed
	}
	return t.last
}

// unread is why the token file has never been read, nil where it has, or there is none.
func (t *tokenSource) unread() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem
}

// origin says where the token comes from, for an invalid token.
func (t *tokenSource) origin() string {
	if t.file != "" {
		return "the token file " + t.file
	}
	return "NOMAD_TOKEN"
}

// plausible reports whether a token can be sent: it is empty, or printable ASCII
// without white space, like identities and secret IDs.
func plausible(token string) bool {
	return strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
