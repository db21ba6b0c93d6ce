package consulsim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Token says what a request may do.
type Token struct {
	// Secret is the token in requests; Accessor is its public name.
	Secret, Accessor string
	// Management may do everything.
	Management bool
	// Rules are those of all its policies.
	Rules []Rule
}

// Rule is one block of a policy. Of several that match, that for the name itself
// counts, or else the longest prefix.
type Rule struct {
	// Resource is "service", "node", "agent", or one of these with "_prefix".
	Resource string
	Name     string
	// Policy is "read", "write" or "deny".
	Policy string
}

// AnonymousToken is the secret of the token of requests without one.
const AnonymousToken = "anonymous"

// accessTable has the tokens. Guarded by Sim.mu.
type accessTable struct {
	enabled bool
	tokens  map[string]Token
}

func (t *accessTable) init(enabled bool) {
	t.enabled = enabled
	t.tokens = map[string]Token{AnonymousToken: {Secret: AnonymousToken, Accessor: "00000000-0000-0000-0000-000000000002"}}
}

// PutToken makes or changes a token. As on a real agent, most queries that wait notice
// when something else ends their wait.
func (s *Sim) PutToken(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access.tokens[t.Secret] = t
	clear(s.encoded)
	s.wake()
}

// DeleteToken removes a token.
func (s *Sim) DeleteToken(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access.tokens, secret)
	clear(s.encoded)
	s.wake()
}

// defaultPolicy is what an agent says of itself in each answer.
func (s *Sim) defaultPolicy() string {
	if s.options.ACL {
		return "deny"
	}
	return "allow"
}

// secret is the token of a request.
func secret(r *http.Request) string {
	if t := r.URL.Query().Get("token"); t != "" {
		return t
	}
	if t := r.Header.Get("X-Consul-Token"); t != "" {
		return t
	}
	scheme, t, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(t)
	}
	return ""
}

// authorizer is what a request may do.
type authorizer struct {
	all   bool
	token Token
}

var errNoToken = errors.New("ACL not found")

// resolve finds the token of a request.
func (t *accessTable) resolve(secret string) (*authorizer, error) {
	if !t.enabled {
		return &authorizer{all: true}, nil
	}
	if secret == "" {
		secret = AnonymousToken
	}
	token, ok := t.tokens[secret]
	if !ok {
		return nil, errNoToken
	}
	return &authorizer{all: token.Management, token: token}, nil
}

// may reports whether the token has "read" or "write" on a resource.
func (a *authorizer) may(policy, resource, name string) bool {
	if a.all {
		return true
	}
	best, length := "", -1
	for _, r := range a.token.Rules {
		switch {
		case r.Resource == resource && r.Name == name:
			best, length = r.Policy, len(name)+1
		case r.Resource == resource+"_prefix" && strings.HasPrefix(name, r.Name) && len(r.Name) > length:
			best, length = r.Policy, len(r.Name)
		}
	}
	return best == "write" || best == policy && policy == "read"
}

// denial is the text of a refusal.
func (a *authorizer) denial(policy, resource, name string) string {
	return fmt.Sprintf("Permission denied: token with AccessorID '%s' lacks permission '%s:%s' on %q", a.token.Accessor, resource, policy, name)
}

// permit answers 403 and returns false unless the request's token permits something.
// s.mu must not be held.
func (s *Sim) permit(w http.ResponseWriter, r *http.Request, policy, resource, name string) bool {
	s.mu.Lock()
	a, err := s.access.resolve(secret(r))
	s.mu.Unlock()
	switch {
	case err != nil:
		refuse(w, http.StatusForbidden, "%v", err)
	case !a.may(policy, resource, name):
		refuse(w, http.StatusForbidden, "%s", a.denial(policy, resource, name))
	default:
		return true
	}
	return false
}

// tokenSelf is GET /v1/acl/token/self.
func (s *Sim) tokenSelf(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	enabled := s.access.enabled
	a, err := s.access.resolve(secret(r))
	s.mu.Unlock()
	switch {
	case !enabled:
		refuse(w, http.StatusUnauthorized, "ACL support disabled")
	case err != nil || secret(r) == "":
		refuse(w, http.StatusForbidden, "%v", errNoToken)
	default:
		writeJSON(w, map[string]any{"AccessorID": a.token.Accessor, "SecretID": a.token.Secret, "Description": "", "Local": false})
	}
}

func (a *authorizer) readsEntry(e entry) bool {
	return a.may("read", "node", e.Node.Node) && a.may("read", "service", e.Service.Service)
}

func (a *authorizer) readsCheck(c *Check) bool {
	return a.may("read", "node", c.Node) && (c.ServiceName == "" || a.may("read", "service", c.ServiceName))
}

// visible keeps what the token may read, and reports whether something else was there.
func visible[T any](all []T, may func(T) bool) (kept []T, hidden bool) {
	kept = make([]T, 0, len(all))
	for _, v := range all {
		if may(v) {
			kept = append(kept, v)
		} else {
			hidden = true
		}
	}
	return kept, hidden
}
