package acme_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// tokenText is the token of each validation in these tests.
const tokenText = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// putToken stores the token of a validation, like another serai would.
func putToken(t *testing.T, store *memory, host, kind string) {
	t.Helper()
	key := "acme/own.test-dir/challenge_tokens/" + host + ".json"
	_, err := store.Put(context.Background(), certstore.Path("acme", key), map[string]string{"name": key, "value": `{"type":"` + kind + `","token":"` + tokenText +
		`","keyAuthorization":"` + tokenText + `.thumbprint","identifier":{"type":"dns","value":"` + host + `"}}`}, 0)
	if err != nil {
		t.Error(err)
	}
}

// follower starts a serai that orders nothing itself: another one is the leader.
func follower(t *testing.T, store *memory) *acme.Issuer {
	t.Helper()
	i, err := acme.New(acme.Options{
		Store: store, Certificates: tls.NewStore(), Name: "test", Email: "a@example.org", Directory: "https://own.test/dir",
		HTTPAddress: "127.0.0.1:1", TLSAddress: "127.0.0.1:1",
		Hosts: func() []acme.Host { return nil }, Wants: func(h string) bool { return strings.HasSuffix(h, ".test") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); i.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return i
}

// TestStrangersTakeNoValidation requests tokens of hosts that want certificates and
// have no order in progress, of hosts that no route wants, and of hosts that are being
// validated, over HTTP and TLS at once. Each request of the CA is answered, and the
// store is read little.
func TestStrangersTakeNoValidation(t *testing.T) {
	store := newMemory()
	i := follower(t, store)
	path := "/.well-known/acme-challenge/" + tokenText
	wrong := path[:len(path)-1] + "x"
	stop := make(chan struct{})
	var asked atomic.Int64
	var strangers sync.WaitGroup
	flood := func(ask func()) {
		strangers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					ask()
					asked.Add(1)
				}
			}
		})
	}
	for n := range 400 {
		host := fmt.Sprintf("idle%d.test", n)
		flood(func() { i.AnswerHTTP(host, path) })
		flood(func() { i.AnswerTLS(host) })
	}
	for n := range 6 {
		host := fmt.Sprintf("busy%d.test", n)
		flood(func() { i.AnswerHTTP(host, wrong) })
		flood(func() { i.AnswerTLS(host) })
	}
	for asked.Load() < 400 {
		time.Sleep(10 * time.Millisecond)
	}
	before := store.reads()
	for n := range 6 {
		host, kind := fmt.Sprintf("busy%d.test", n), []string{"http-01", "tls-alpn-01"}[n%2]
		putToken(t, store, host, kind)
		if kind == "http-01" {
			if _, ok := i.AnswerHTTP(host, path); !ok {
				t.Errorf("the CA's question for %s is not answered", host)
			}
		} else if i.AnswerTLS(host) == nil {
			t.Errorf("the CA's handshake for %s is not answered", host)
		}
	}
	close(stop)
	strangers.Wait()
	store.mu.Lock()
	lists := store.lists
	store.mu.Unlock()
	reads := store.reads() - before
	t.Logf("%d questions of strangers: %d reads and %d lists of the store", asked.Load(), reads, lists)
	if reads > 30 || lists > 60 {
		t.Error("strangers make the store be asked too often")
	}
}

// TestNewTokenIsAnsweredAtOnce: the second kind of validation in one order replaces the
// first one's token, which was requested just before.
func TestNewTokenIsAnsweredAtOnce(t *testing.T) {
	store := newMemory()
	i := follower(t, store)
	path := "/.well-known/acme-challenge/" + tokenText
	putToken(t, store, "a.test", "http-01")
	if _, ok := i.AnswerHTTP("a.test", path); !ok {
		t.Fatal("the first token is not answered")
	}
	key := certstore.Path("acme", "acme/own.test-dir/challenge_tokens/a.test.json")
	store.Delete(context.Background(), key)
	putToken(t, store, "a.test", "tls-alpn-01")
	if i.AnswerTLS("a.test") == nil {
		t.Error("the second token is not answered")
	}
	store.Delete(context.Background(), key)
	if _, ok := i.AnswerHTTP("a.test", path); ok {
		t.Error("a token that is gone is answered")
	}
}
