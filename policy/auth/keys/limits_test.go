package keys

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestLongDocument: a document is as long as it may be, and a longer one takes no key away.
func TestLongDocument(t *testing.T) {
	text := document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}))
	var served atomic.Value
	served.Store(text)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(served.Load().([]byte)) }))
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	r, err := NewRemote(RemoteOptions{URL: server.URL, CA: string(ca), MaxDocument: int64(len(text))})
	if err != nil {
		t.Fatal(err)
	}
	if !r.attempt(t.Context()) || r.Status().Keys != 1 {
		t.Fatalf("a document that is as long as it may be: %+v", r.Status())
	}
	served.Store(append(slices.Clone(text), ' '))
	if r.attempt(t.Context()) {
		t.Error("a longer one is taken")
	}
	if s := r.Status(); s.Keys != 1 || s.Failed != 1 || !strings.Contains(s.Problem, "more than") || r.Current() == nil {
		t.Errorf("after a longer one: %+v", s)
	}
}

// TestContinue: what was fetched from one place is known when its options change that do not
// say which place that is, and only then.
func TestContinue(t *testing.T) {
	const url = "https://issuer.test/keys"
	i := &issuer{}
	i.set(document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"})), false)
	from, err := NewRemote(RemoteOptions{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	from.client.Transport = i
	from.attempt(t.Context())
	for name, c := range map[string]struct {
		o     RemoteOptions
		knows bool
	}{
		"refresh":     {RemoteOptions{URL: url, Refresh: time.Hour}, true},
		"timeout":     {RemoteOptions{URL: url, Timeout: time.Second, Plain: true}, true},
		"another URL": {RemoteOptions{URL: url + "?x=y"}, false},
	} {
		r, err := NewRemote(c.o)
		if err != nil {
			t.Fatal(err)
		}
		r.Continue(from)
		if (r.Current() != nil) != c.knows || c.knows && r.Status() != from.Status() {
			t.Errorf("%s: keys %v, %+v", name, r.Current(), r.Status())
		}
	}
	unknown, err := NewRemote(RemoteOptions{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	from.Continue(unknown)
	if from.Current() == nil {
		t.Error("keys are forgotten for a place that nobody has asked yet")
	}
}
