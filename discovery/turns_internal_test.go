package discovery

import (
	"errors"
	"testing"
)

// TestLateSubscription: of two attempts to subscribe once more the earlier one ends last. It is
// neither used nor tried again: it knows less of namespaces and tokens.
func TestLateSubscription(t *testing.T) {
	s := &session{begun: 2, adopted: 2, renewing: 1, names: map[string]bool{"new": true}}
	s.reopened(t.Context(), opening{names: map[string]bool{"old": true}, turn: 1, err: errors.New("too late")})
	if s.renewing != 0 || s.adopted != 2 || !s.names["new"] {
		t.Errorf("%d attempts are left, the stream is that of attempt %d and covers %v", s.renewing, s.adopted, s.names)
	}
}
