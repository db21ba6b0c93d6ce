package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// secret must be in no error.
const secret = "8f1c2f6e-secret-0123456789abcdef"

// TestBadAnswers: whatever is not an agent's answer is an error of a kind, and none shows
// the token.
func TestBadAnswers(t *testing.T) {
	index := map[string]string{"X-Consul-Index": "7"}
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		kind   error
		says   string
	}{
		"null":             {200, index, "null", ErrBadAnswer, "the answer is null"},
		"nothing":          {200, index, "", ErrBadAnswer, "the answer is empty"},
		"a page":           {200, index, "<html>" + secret + "</html>", ErrBadAnswer, "a web page"},
		"another type":     {200, index, `{"web":"x"}`, ErrBadAnswer, "no Consul agent would answer that"},
		"no index":         {200, nil, `[]`, ErrBadAnswer, "X-Consul-Index"},
		"a huge index":     {200, map[string]string{"X-Consul-Index": "18446744073709551615"}, `[]`, ErrBadAnswer, "X-Consul-Index"},
		"a cut list":       {200, index, `[{"Node":{}`, ErrBadAnswer, "no Consul agent"},
		"another service":  {200, index, `[{"Node":{"Node":"n"},"Service":{"ID":"1","Service":"other"}}]`, ErrBadAnswer, `service "other"`},
		"no ID":            {200, index, `[{"Node":{"Node":"n"},"Service":{"Service":"web"}}]`, ErrBadAnswer, `ID ""`},
		"no node":          {200, index, `[{"Node":{},"Service":{"ID":"1","Service":"web"}}]`, ErrBadAnswer, `node ""`},
		"too long":         {200, index, "[" + strings.Repeat(" ", 1<<20) + "]", ErrTooLong, "larger than serai accepts"},
		"redirected":       {301, map[string]string{"Location": "http://example.org/"}, "", ErrBadAnswer, "redirects"},
		"not found":        {404, nil, "nothing here", ErrBadAnswer, "no Consul agent"},
		"unknown token":    {403, nil, "ACL not found", ErrTokenRefused, "unknown or expired"},
		"forbidden":        {403, nil, "Permission denied: token lacks permission 'service:read' on \"web\"", ErrForbidden, "service_prefix"},
		"connections":      {429, nil, "Your IP is issuing too many concurrent connections", ErrUnavailable, "http_max_conns_per_client"},
		"no leader":        {500, nil, "No cluster leader", ErrUnavailable, "electing a leader"},
		"no servers":       {500, nil, "No known Consul servers", ErrUnavailable, "electing a leader"},
		"no datacenter":    {500, nil, "No path to datacenter", ErrUnavailable, "--consul-datacenter"},
		"a panic":          {500, nil, "rpc error: " + secret, ErrUnavailable, "log says why"},
		"https is spoken":  {400, nil, "Client sent an HTTP request to an HTTPS server.", ErrBadAnswer, "https://"},
		"control in words": {500, nil, "a\x1b[31m\nb", ErrUnavailable, `"a.[31m b"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer s.Close()
			var told error
			client := newTestClient(t, Options{Address: s.URL, Token: secret, Limits: Limits{Answer: 1 << 19}, OnRequest: func(_ string, err error) { told = err }})
			_, _, err := client.Service(t.Context(), "web", Query{})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || told != err {
				t.Errorf("%v, want %v with %q; OnRequest was told %v", err, c.kind, c.says, told)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%v shows the token", err)
			}
		})
	}
}

func uncared(string, []string, bool) {}

func newTestClient(t testing.TB, o Options) *Client {
	t.Helper()
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// TestNoAnswer: nobody there, and somebody who says nothing.
func TestNoAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	silent := newTestClient(t, Options{Address: l.Addr().String(), Limits: Limits{Request: 10 * time.Millisecond}})
	if _, err := silent.EachService(t.Context(), Query{}, uncared); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "overloaded") {
		t.Errorf("somebody who says nothing: %v", err)
	}
	l.Close()
	silent = newTestClient(t, Options{Address: l.Addr().String()})
	if _, err := silent.EachService(t.Context(), Query{}, uncared); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "is an agent running at http://127.0.0.1:") {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := silent.EachService(ctx, Query{}, uncared); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("a caller who has left: %v", err)
	}
}

// TestRequests: what is asked, with which token.
func TestRequests(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = fmt.Sprint(r.URL.RequestURI(), " ", r.Header.Get("X-Consul-Token"))
		w.Header().Set("X-Consul-Index", "0")
		w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
		w.Header().Set("X-Consul-Default-ACL-Policy", "deny")
		switch r.URL.Path {
		case "/v1/catalog/services":
			io.WriteString(w, `{"web":["a"]}`)
		case "/v1/status/leader":
			io.WriteString(w, `"127.0.0.1:8300"`)
		default:
			io.WriteString(w, `[]`)
		}
	}))
	defer s.Close()
	c := newTestClient(t, Options{Address: s.URL, Token: "t", Datacenter: "dc2"})
	names := make(map[string][]string)
	meta, err := c.EachService(t.Context(), Query{Index: 7, Wait: time.Minute, Stale: true}, func(name string, tags []string, _ bool) { names[name] = tags })
	if err != nil || len(names) != 1 || !meta.Filtered || meta.Index != 1 || !meta.Denies {
		t.Errorf("%v %+v %v", names, meta, err)
	}
	for _, want := range []string{"/v1/catalog/services?dc=dc2&index=7&stale=&wait=60000ms t"} {
		if got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
	}
	if _, _, err := c.Service(t.Context(), "a/b c", Query{}); err != nil || got != "/v1/health/service/a%2Fb%20c?dc=dc2 t" {
		t.Errorf("asked %s, %v", got, err)
	}
	if _, err := c.EachCheck(t.Context(), Critical, Query{}, func(string, string, string) {}); err != nil || got != "/v1/health/state/critical?dc=dc2 t" {
		t.Errorf("asked %s, %v", got, err)
	}
	if err := c.Leader(t.Context()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"", ".", ".."} {
		if _, _, err := c.Service(t.Context(), name, Query{}); err == nil {
			t.Errorf("service %q was asked for", name)
		}
	}
}

// answering is a transport that answers all requests alike.
type answering struct {
	index string
	body  []byte
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"X-Consul-Index": {a.index}}, Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

// FuzzAnswers: no answer makes a client panic, or show the token; what is returned can be
// used.
func FuzzAnswers(f *testing.F) {
	f.Add("7", []byte(`[{"Node":{"Node":"n","Address":"10.0.0.1","TaggedAddresses":{"wan":"a"}},"Service":{"ID":"1","Service":"web","Tags":null,"Weights":{"Passing":1}},"Checks":[{"Status":"passing"}]}]`))
	f.Add("0", []byte(`{"web":["a"],"x":null}`))
	f.Add("18446744073709551615", []byte(`null`))
	f.Add("-1", []byte(secret))
	f.Fuzz(func(t *testing.T, index string, body []byte) {
		c := newTestClient(t, Options{Token: secret})
		c.http.Transport = answering{index, body}
		bearable := func(err error) {
			if err != nil && (strings.Contains(err.Error(), secret) || len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\n\x1b")) {
				t.Errorf("%q", err)
			}
		}
		entries, meta, err := c.Service(t.Context(), "web", Query{})
		bearable(err)
		for _, e := range entries {
			if e.Service.Service != "web" || e.Service.ID == "" || e.Node.Node == "" {
				t.Errorf("%+v", e)
			}
		}
		if err == nil && meta.Index == 0 {
			t.Error("index 0 would be asked for ever")
		}
		names, want := make(map[string][]string), map[string][]string(nil)
		_, err = c.EachService(t.Context(), Query{}, func(name string, tags []string, _ bool) { names[name] = tags })
		bearable(err)
		if wrong := json.Unmarshal(body, &want); err == nil && (wrong != nil || len(names) != len(want)) {
			t.Errorf("%q gave %q; want %q, %v", body, names, want, wrong)
		}
		_, err = c.EachCheck(t.Context(), Warning, Query{}, func(string, string, string) {})
		bearable(err)
		bearable(c.Leader(t.Context()))
	})
}

// TestNamesInAnotherCase: Consul finds names in any case. What another one has registered so
// neither counts as the service's nor keeps the service from being read.
func TestNamesInAnotherCase(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		io.WriteString(w, `[{"Node":{"Node":"n"},"Service":{"ID":"1","Service":"web"}},{"Node":{"Node":"n"},"Service":{"ID":"2","Service":"WEB"}}]`)
	}))
	defer s.Close()
	entries, _, err := newTestClient(t, Options{Address: s.URL}).Service(t.Context(), "web", Query{})
	if err != nil || len(entries) != 1 || entries[0].Service.ID != "1" {
		t.Errorf("web has %d instances: %v", len(entries), err)
	}
}

// TestIndexesOfInstances: Consul numbers its changes one by one. What has a number that no Consul
// reaches comes from elsewhere, and would be taken for older or newer than everything.
func TestIndexesOfInstances(t *testing.T) {
	for _, field := range []string{"CreateIndex", "ModifyIndex"} {
		for index, good := range map[string]bool{"0": true, "4503599627370495": true, "4503599627370496": false, "18446744073709551615": false, "-1": false, "1.5": false} {
			c := newTestClient(t, Options{})
			c.http.Transport = answering{"7", fmt.Appendf(nil, `[{"Node":{"Node":"n"},"Service":{"ID":"1","Service":"web",%q:%s}}]`, field, index)}
			if _, _, err := c.Service(t.Context(), "web", Query{}); (err == nil) != good || !good && !errors.Is(err, ErrBadAnswer) {
				t.Errorf("%s %s: %v", field, index, err)
			}
		}
	}
}

// TestShortAnswersAreBounded: of what is a few thousand bytes no more than a megabyte is read, also
// where lists may have more.
func TestShortAnswersAreBounded(t *testing.T) {
	c := newTestClient(t, Options{})
	c.http.Transport = answering{"7", fmt.Appendf(nil, `{"Allowed":true,"TrustDomain":"a","Roots":[{}],"CertPEM":"a","PrivateKeyPEM":%q}`, strings.Repeat("x", mostOfMesh))}
	for name, ask := range map[string]func() error{
		"certificate": func() error { _, _, err := c.Leaf(t.Context(), "serai", Query{}); return err },
		"roots":       func() error { _, _, err := c.Roots(t.Context(), Query{}); return err },
		"intention":   func() error { _, err := c.Intended(t.Context(), "serai", "web"); return err },
		"leader":      func() error { return c.Leader(t.Context()) },
	} {
		if err := ask(); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
