package consul

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCheckAccess: a list that may lack something is a missing right, which is told with the
// policy that gives it.
func TestCheckAccess(t *testing.T) {
	for name, c := range map[string]struct {
		token, body string
		header      [2]string
		status      int
		missing     bool
	}{
		"all":                     {body: `{"consul":[]}`, status: 200},
		"less than all":           {token: secret, body: `{"consul":[]}`, header: [2]string{"X-Consul-Results-Filtered-By-ACLs", "true"}, status: 200, missing: true},
		"nothing without a token": {body: `{}`, header: [2]string{"X-Consul-Default-ACL-Policy", "deny"}, status: 200, missing: true},
		"all without a token":     {body: `{"consul":[]}`, header: [2]string{"X-Consul-Default-ACL-Policy", "deny"}, status: 200},
		"refused":                 {token: secret, body: "Permission denied", status: 403, missing: true},
		"an unknown token":        {token: secret, body: "ACL not found", status: 403},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Index", "7")
			if c.header[0] != "" {
				w.Header().Set(c.header[0], c.header[1])
			}
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		}))
		err := newTestClient(t, Options{Address: s.URL, Token: c.token}).CheckAccess(t.Context())
		var missing *AccessError
		if errors.As(err, &missing) != c.missing || c.missing && (!errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), `service_prefix ""`) || !strings.Contains(err.Error(), missing.Command())) {
			t.Errorf("%s: %v", name, err)
		}
		if !c.missing && (err == nil) != (c.status == 200) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}
