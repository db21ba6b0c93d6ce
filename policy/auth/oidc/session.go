package oidc

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// session is what the provider has said of a user, as a browser keeps it, sealed. Its
// names are short because each request carries it.
type session struct {
	// ID is the nonce of the login. It stays through all renewals.
	ID string `json:"i"`
	// Subject is the provider's identifier; User is what the instance is told.
	Subject string   `json:"s"`
	User    string   `json:"u"`
	Email   string   `json:"e,omitempty"`
	Groups  []string `json:"g,omitempty"`
	// Refresh is the provider's refresh token, empty when it gave none.
	Refresh string `json:"r,omitempty"`
	// Ends is when the session is over. From Due on the provider must be asked again.
	// Both are in Unix seconds.
	Ends int64 `json:"x"`
	Due  int64 `json:"d"`
	// Unsaid is since when the provider has renewed it without saying of whom, 0 when it has
	// said: see unconfirmed. In Unix seconds.
	Unsaid int64 `json:"n,omitempty"`
}

// longestGrace bounds the time for which a session goes on that the provider does not
// renew, because another node may just have renewed it.
const longestGrace = time.Minute

// grace is that time for a Login.
func (l *Login) grace() time.Duration { return min(longestGrace, l.o.Renew) }

// spread is how much later than others a node may begin to renew sessions: the nodes do
// not all renew a session when its browser asks several of them at once.
func (l *Login) spread(s *session) time.Duration {
	most := min(30*time.Second, l.o.Renew/10)
	sum := sha256.Sum256(append(l.shared.node[:], s.ID...))
	return most * time.Duration(sum[0]) / 256
}

// over reports whether nothing can make the session count any more.
func (s *session) over(now time.Time) bool { return now.Unix() >= s.Ends }

// due is when the session is to be renewed, Without a refresh token it cannot be.
func (s *session) due() time.Time { return time.Unix(s.Due, 0) }

// in reports whether the user may come in.
func (s *session) in(groups []string) bool {
	return len(groups) == 0 || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(s.Groups, g) })
}

// groupsValue is the groups as the instance is told: a list with commas, without those that
// would look like several or could not stand in a field.
func (s *session) groupsValue() string {
	kept := make([]string, 0, len(s.Groups))
	for _, g := range s.Groups {
		if fieldValue(g) && !strings.Contains(g, ",") {
			kept = append(kept, g)
		}
	}
	return strings.Join(kept, ",")
}

// fieldValue reports whether s may stand in a field, and arrives as it is.
func fieldValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != "" && strings.Trim(s, " ") == s
}

// sealSession seals s for a host. Where it does not fit into cookies, it has only those
// groups that the block names; ok says whether that is enough.
func (l *Login) sealSession(s *session, host string) (sealed string, ok bool) {
	text, err := json.Marshal(s)
	if err == nil && sealedLength(len(text)) > mostSealed {
		few := *s
		few.Groups = slices.DeleteFunc(slices.Clone(s.Groups), func(g string) bool { return !slices.Contains(l.o.Groups, g) })
		text, err = json.Marshal(&few)
	}
	if err != nil || sealedLength(len(text)) > mostSealed {
		return "", false
	}
	sealed = l.o.Keys().seal(text, l.bound(forSession, host))
	return sealed, sealed != ""
}

// openSession opens what sealSession has made for the host, nil for all else.
func (l *Login) openSession(sealed, host string) *session {
	text, ok := l.o.Keys().open(sealed, l.bound(forSession, host))
	if !ok {
		return nil
	}
	s := &session{}
	if json.Unmarshal(text, s) != nil || s.ID == "" || s.User == "" {
		return nil
	}
	return s
}

// bound is what cookies are bound to: this auth, its provider and client, and one host.
func (l *Login) bound(p purpose, host string) []byte {
	return boundTo(p, l.name, l.o.Issuer, l.o.ClientID, host)
}
