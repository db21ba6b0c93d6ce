package acme_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// TestValidationsAreAnswered by a serai that did not begin them, however often
// strangers ask before the CA does.
func TestValidationsAreAnswered(t *testing.T) {
	const host, token = "a.test", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	store := newMemory()
	i, err := acme.New(acme.Options{
		Store: store, Certificates: tls.NewStore(), Name: "test", Email: "a@example.org", Directory: "https://own.test/dir", HTTPAddress: "127.0.0.1:1",
		Hosts: func() []acme.Host { return []acme.Host{{Name: host}, {Name: "tls.test"}} }, Wants: func(h string) bool { return h == host || h == "tls.test" },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); i.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	path := "/.well-known/acme-challenge/" + token

	stop := make(chan struct{})
	var strangers sync.WaitGroup
	defer strangers.Wait()
	defer close(stop)
	for range 4 {
		strangers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					i.AnswerHTTP(host, path[:len(path)-1]+"x")
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	put := func(host, kind string) {
		key := "acme/own.test-dir/challenge_tokens/" + host + ".json"
		_, err := store.Put(ctx, certstore.Path("acme", key), map[string]string{"name": key, "value": `{"type":"` + kind + `","token":"` + token +
			`","keyAuthorization":"` + token + `.thumbprint","identifier":{"type":"dns","value":"` + host + `"}}`}, 0)
		if err != nil {
			t.Error(err)
		}
	}
	put(host, "http-01")
	put("tls.test", "tls-alpn-01")
	if answer, ok := i.AnswerHTTP("A.test.:80", path); !ok || answer != token+".thumbprint" {
		t.Errorf("the CA is answered %q, %v", answer, ok)
	}
	for _, wrong := range []string{path[:len(path)-1], path + "/", path + "a", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/../" + token, strings.ToUpper(path)} {
		if answer, ok := i.AnswerHTTP(host, wrong); ok {
			t.Errorf("%s is answered %q", wrong, answer)
		}
	}
	if _, ok := i.AnswerHTTP("tls.test", path); ok {
		t.Error("a TLS-ALPN-01 validation is answered over HTTP")
	}
	if _, ok := i.AnswerHTTP("other.test", path); ok {
		t.Error("a host that nobody wants is answered for")
	}
	c := i.AnswerTLS("tls.test")
	if c == nil || i.AnswerTLS(host) != nil || i.AnswerTLS("other.test") != nil {
		t.Errorf("TLS-ALPN-01 is answered with %v, or for others", c)
	}
	before := store.reads()
	var many sync.WaitGroup
	for range 200 {
		many.Go(func() { i.AnswerHTTP(host, path[:len(path)-2]+"xy") })
	}
	many.Wait()
	if n := store.reads() - before; n > 60 {
		t.Errorf("200 questions of strangers made %d reads of the store", n)
	}
}
