package nomadsim

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
)

// Token says what a request may do.
type Token struct {
	// Secret is the token in requests.
	Secret string
	// Management may do everything.
	Management bool
	// Workload marks a workload identity: it may read services of any namespace that it
	// names, and read and list the variables of its Job.
	Workload bool
	// Namespace and Job belong to a workload.
	Namespace, Job string
	// Rules are additional policies.
	Rules []Rule
}

// Rule is one namespace block of a policy. If several match a namespace, only the most
// specific counts: a block for a namespace's own name shadows the glob.
type Rule struct {
	// Namespace is a name or a glob.
	Namespace string
	// Capabilities are the block's capabilities: read-job and so on.
	Capabilities []string
	// Variables maps path globs to read, write, list, destroy.
	Variables map[string][]string
}

// accessTable has the tokens and the streams that use them. Guarded by Sim.mu.
type accessTable struct {
	enabled bool
	tokens  map[string]Token
	subs    map[*subscription]struct{}
}

func (t *accessTable) init(enabled bool) {
	t.enabled = enabled
	t.tokens = map[string]Token{}
	t.subs = map[*subscription]struct{}{}
}

// SetACL enables or disables access control.
func (s *Sim) SetACL(enabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access.enabled = enabled
	s.access.review()
	s.wake()
}

// PutToken makes or changes a token. Streams that it no longer allows end.
func (s *Sim) PutToken(t Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access.tokens[t.Secret] = t
	s.access.review()
	s.wake()
}

// DeleteToken removes a token and ends its streams.
func (s *Sim) DeleteToken(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access.tokens, secret)
	s.access.review()
	s.wake()
}

// EndStreams ends all event streams, as a snapshot restore does.
func (s *Sim) EndStreams() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.access.subs {
		sub.end()
	}
}

// secret is the token of a request.
func secret(r *http.Request) string {
	if t := r.Header.Get("X-Nomad-Token"); t != "" {
		return strings.TrimSpace(t)
	}
	scheme, t, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(t)
	}
	return ""
}

// may locks s.mu and checks one capability.
func (s *Sim) may(token, namespace, capability string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.access.allows(token, namespace, capability)
}

// mayReadServices locks s.mu and checks whether a namespace that was named may be read.
func (s *Sim) mayReadServices(token, namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.access.tokens[token].Workload || s.access.allows(token, namespace, "read-job")
}

// known reports whether requests with this token are accepted at all: without one a
// request is anonymous.
func (t *accessTable) known(token string) bool {
	_, ok := t.tokens[token]
	return !t.enabled || token == "" || ok
}

func (t *accessTable) isManagement(token string) bool {
	return !t.enabled || t.tokens[token].Management
}

func (t *accessTable) allows(token, namespace, capability string) bool {
	if t.isManagement(token) {
		return true
	}
	r := t.rule(token, namespace)
	return r != nil && slices.Contains(r.Capabilities, capability)
}

// anything reports whether a namespace is in the list of namespaces.
func (t *accessTable) anything(token, namespace string) bool {
	if t.isManagement(token) {
		return true
	}
	r := t.rule(token, namespace)
	return r != nil && len(r.Capabilities) > 0 && !slices.Contains(r.Capabilities, "deny")
}

// readable returns the namespaces that a list of all shows.
func (t *accessTable) readable(token string, namespaces []string) []string {
	return slices.DeleteFunc(namespaces, func(ns string) bool { return !t.allows(token, ns, "read-job") })
}

// mayStream checks read-job in every namespace: one that is refused refuses the stream.
func (t *accessTable) mayStream(token string, namespaces []string) bool {
	for _, ns := range namespaces {
		if !t.allows(token, ns, "read-job") {
			return false
		}
	}
	return true
}

// rule returns the rule that counts for a namespace.
func (t *accessTable) rule(token, namespace string) *Rule {
	rules := t.tokens[token].Rules
	var best *Rule
	for i := range rules {
		r := &rules[i]
		if r.Namespace == namespace {
			return r
		}
		if ok, _ := path.Match(r.Namespace, namespace); ok && (best == nil || len(r.Namespace) > len(best.Namespace)) {
			best = r
		}
	}
	return best
}

// allowsVariable checks one capability on a variable's path.
func (t *accessTable) allowsVariable(token, namespace, p, capability string) bool {
	if t.isManagement(token) {
		return true
	}
	tok := t.tokens[token]
	if tok.Workload && tok.Namespace == namespace && (capability == "read" || capability == "list") {
		own := "nomad/jobs/" + tok.Job
		if p == "nomad/jobs" || p == own || strings.HasPrefix(p, own+"/") {
			return true
		}
	}
	r := t.rule(token, namespace)
	if r == nil {
		return false
	}
	best, granted := -1, false
	for glob, capabilities := range r.Variables {
		if globMatches(glob, p) && len(glob) > best {
			best, granted = len(glob), slices.Contains(capabilities, capability) ||
				capability == "list" && slices.Contains(capabilities, "read")
		}
	}
	return granted
}

// globMatches is a glob in which * matches slashes too.
func globMatches(glob, s string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !star {
		return glob == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for i := 0; i <= len(s); i++ {
		if globMatches(rest, s[i:]) {
			return true
		}
	}
	return false
}

// subscription is one running event stream.
type subscription struct {
	token      string
	namespaces []string
	ended      chan struct{}
	once       sync.Once
	table      *accessTable
	mu         *sync.Mutex // Sim.mu
}

// subscribe adds a stream. mu, which guards the table, must be held.
func (t *accessTable) subscribe(mu *sync.Mutex, token string, namespaces []string) *subscription {
	sub := &subscription{token: token, namespaces: namespaces, ended: make(chan struct{}), table: t, mu: mu}
	t.subs[sub] = struct{}{}
	return sub
}

func (sub *subscription) unsubscribe() {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	delete(sub.table.subs, sub)
}

func (sub *subscription) end() { sub.once.Do(func() { close(sub.ended) }) }

// review ends the streams that are no longer allowed.
func (t *accessTable) review() {
	for sub := range t.subs {
		if !t.mayStream(sub.token, sub.namespaces) {
			sub.end()
		}
	}
}
