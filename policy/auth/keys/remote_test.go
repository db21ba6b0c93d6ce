package keys

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// issuer is a server of keys without a network, for tests of time.
type issuer struct {
	mu       sync.Mutex
	asked    []time.Time
	document []byte // nil for a failure
	hangs    bool
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.asked = append(i.asked, time.Now())
	document, hangs := i.document, i.hangs
	i.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if document == nil {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(document))}, nil
}

func (i *issuer) set(document []byte, hangs bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.document, i.hangs = document, hangs
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.asked)
}

// following runs a Remote of an issuer until stop is called.
func following(t *testing.T, i *issuer) (r *Remote, stop func()) {
	t.Helper()
	r, err := NewRemote(RemoteOptions{URL: "https://issuer.test/keys?s3cr3t"})
	if err != nil {
		t.Fatal(err)
	}
	r.client.Transport = i
	var f Followed
	f.Set([]*Remote{r})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, quiet) }()
	return r, func() {
		cancel()
		if err := <-done; err != context.Canceled {
			t.Errorf("Run returned %v", err)
		}
	}
}

var defaults, _ = ParseAlgorithms(nil)

// TestFloodOfUnknownKeys: tokens with kids that nobody has, over ten minutes, have the keys fetched once a minute. Nobody whose key is known waits, also while the server
// hangs, and nobody waits longer than the timeout.
func TestFloodOfUnknownKeys(t *testing.T) {
	const tokens = 1000
	for _, hangs := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{document: document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}))}
			r, stop := following(t, i)
			defer stop()
			good := sign(t, head("ES256", "e"), okClaims, ecKey)
			if _, err := Verify(r, good, defaults, withoutTests); err != nil {
				t.Fatal(err)
			}
			unsigned := sign(t, nil, okClaims, nil) + b64(make([]byte, 64))
			i.set(i.document, hangs)
			began, before := time.Now(), i.count()
			var all sync.WaitGroup
			var longest, refused, undecided atomic.Int64
			for n := range tokens {
				time.Sleep(10 * time.Minute / tokens)
				all.Go(func() {
					asked := time.Now()
					own := fmt.Sprintf(`{"alg":"ES256","kid":"x%d"}`, n)
					switch _, err := Verify(r, strings.Replace(unsigned, b64([]byte("null")), b64([]byte(own)), 1), defaults, withoutTests); err {
					case ErrUnknownKey:
						refused.Add(1)
					case ErrUnavailable:
						undecided.Add(1)
					default:
						t.Errorf("an unknown key: %v", err)
					}
					for took := int64(time.Since(asked)); ; {
						if was := longest.Load(); took <= was || longest.CompareAndSwap(was, took) {
							break
						}
					}
				})
				if n%10 > 0 {
					continue
				}
				asked := time.Now()
				if _, err := Verify(r, good, defaults, withoutTests); err != nil || time.Since(asked) != 0 {
					t.Fatalf("a known key: %v, after %v", err, time.Since(asked))
				}
			}
			all.Wait()
			fetches := i.count() - before
			t.Logf("hangs %v: %d fetches, %d refused, %d undecided, the longest wait %v", hangs, fetches, refused.Load(), undecided.Load(), time.Duration(longest.Load()))
			if most := int(time.Since(began)/time.Minute) + 1; fetches > most || fetches < most/2 {
				t.Errorf("%d fetches in %v", fetches, time.Since(began))
			}
			for n := 1; n < len(i.asked); n++ {
				if pause := i.asked[n].Sub(i.asked[n-1]); pause < time.Minute {
					t.Errorf("a fetch %v after the one before", pause)
				}
			}
			if time.Duration(longest.Load()) > 5*time.Second || !hangs && undecided.Load() > 0 {
				t.Error("somebody waited longer than the timeout, or was not told what is wrong")
			}
		})
	}
}

// TestKeysAreNotForgotten: whatever a server does that has no keys for us, those of
// before stay, and its trouble is told; with the first good answer that ends.
func TestKeysAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}))
		i := &issuer{document: first}
		r, stop := following(t, i)
		defer stop()
		good := sign(t, head("ES256", "e"), okClaims, ecKey)
		synctest.Wait()
		known := r.Current()
		for _, answer := range [][]byte{nil, []byte("<html>"), []byte(`{"keys":[]}`), []byte(`{"keys":[{"kty":"oct","k":"x"}]}`)} {
			i.set(answer, false)
			time.Sleep(time.Hour)
			if _, err := Verify(r, good, defaults, withoutTests); err != nil || r.Status().Problem == "" || r.Current() != known {
				t.Errorf("%q: %v, %+v", answer, err, r.Status())
			}
			if s := r.Status(); strings.Contains(s.Problem, "s3cr3t") || s.Keys != 1 {
				t.Errorf("%q: %+v", answer, s)
			}
		}
		if _, err := Verify(r, sign(t, head("ES256", "x"), okClaims, ecKey), defaults, withoutTests); err != ErrUnavailable {
			t.Errorf("an unknown key while the server fails: %v", err)
		}
		i.set(first, false)
		time.Sleep(time.Minute)
		if s := r.Status(); s.Problem != "" || r.Current() != known || s.Changed != 1 {
			t.Errorf("afterwards: %+v", s)
		}
		i.set(document(t, jwkOf(t, otherKey, map[string]any{"kid": "o"})), false)
		time.Sleep(5 * time.Minute)
		if _, err := Verify(r, good, defaults, withoutTests); err != ErrUnknownKey {
			t.Errorf("a key that was withdrawn: %v", err)
		}
		if _, err := Verify(r, sign(t, head("ES256", "o"), okClaims, otherKey), defaults, withoutTests); err != nil {
			t.Errorf("the new key: %v", err)
		}
	})
}

// TestNewKeyIsFetched: a token with a new key has it fetched, and waits for that, with
// all others that come meanwhile.
func TestNewKeyIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{document: document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}))}
		r, stop := following(t, i)
		defer stop()
		synctest.Wait()
		i.set(document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}), jwkOf(t, otherKey, map[string]any{"kid": "o"})), false)
		token := sign(t, head("ES256", "o"), okClaims, otherKey)
		time.Sleep(59 * time.Second)
		if _, err := Verify(r, token, defaults, withoutTests); err != ErrUnknownKey || i.count() != 1 {
			t.Errorf("within the minute: %v, %d fetches", err, i.count())
		}
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := Verify(r, token, defaults, withoutTests); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if i.count() != 2 {
			t.Errorf("%d fetches", i.count())
		}
	})
}

// TestNoKeysYet: while none is known nobody is let in, and the server is asked ever less
// often; whoever comes while it is asked waits for its answer, and no longer than the
// timeout.
func TestNoKeysYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{hangs: true}
		r, stop := following(t, i)
		defer stop()
		good := sign(t, head("ES256", "e"), okClaims, ecKey)
		began := time.Now()
		if _, err := Verify(r, good, defaults, withoutTests); err != ErrUnavailable || time.Since(began) > 5*time.Second {
			t.Errorf("a server that hangs: %v after %v", err, time.Since(began))
		}
		gone := make(chan struct{})
		time.AfterFunc(2*time.Second, func() { close(gone) })
		leaving := errors.New("left")
		time.Sleep(time.Second)
		synctest.Wait() // the second fetch has begun
		began = time.Now()
		if _, err := Verify(r, good, defaults, func(f func(<-chan struct{})) error { f(gone); return leaving }); err != leaving || time.Since(began) > time.Second {
			t.Errorf("who leaves: %v after %v", err, time.Since(began))
		}
		i.set(nil, false)
		time.Sleep(5 * time.Minute)
		before := i.count()
		time.Sleep(time.Hour)
		if n := i.count() - before; n != 60 {
			t.Errorf("%d fetches in an hour", n)
		}
		if n := before; n < 7 || n > 12 {
			t.Errorf("%d fetches in the first five minutes", n)
		}
		if _, err := Verify(r, good, defaults, func(func(<-chan struct{})) error { t.Error("it waits"); return nil }); err != ErrUnavailable {
			t.Errorf("between two fetches: %v", err)
		}
		i.set(document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"})), false)
		time.Sleep(time.Minute)
		if _, err := Verify(r, good, defaults, withoutTests); err != nil {
			t.Error(err)
		}
	})
}

// TestNotFollowedAnyMore: a Remote that a config file does not name any more is not
// asked, one that it still names goes on.
func TestNotFollowedAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Followed
		var issuers [2]*issuer
		var remotes [2]*Remote
		for n := range remotes {
			r, err := NewRemote(RemoteOptions{URL: "https://issuer.test/"})
			if err != nil {
				t.Fatal(err)
			}
			issuers[n] = &issuer{document: document(t, jwkOf(t, ecKey, nil))}
			r.client.Transport = issuers[n]
			remotes[n] = r
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx, quiet) }()
		f.Set(remotes[:1])
		synctest.Wait()
		f.Set(remotes[:])
		time.Sleep(time.Hour)
		f.Set(remotes[1:])
		synctest.Wait()
		before := [2]int{issuers[0].count(), issuers[1].count()}
		if before[0] < 10 || before[1] < 10 || before[0] > 15 {
			t.Errorf("%d fetches in an hour", before)
		}
		time.Sleep(time.Hour)
		if issuers[0].count() != before[0] || issuers[1].count() < before[1]+10 {
			t.Errorf("%d and %d fetches, before there were %d", issuers[0].count(), issuers[1].count(), before)
		}
		cancel()
		<-done
	})
}

// TestServers: what servers answer over real connections.
func TestServers(t *testing.T) {
	good := document(t, jwkOf(t, ecKey, map[string]any{"kid": "e"}))
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { elsewhere.Add(1); w.Write(good) }))
	defer other.Close()
	stop := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			w.Write(good)
		case "/same":
			http.Redirect(w, r, "/good", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/error":
			w.WriteHeader(500)
			w.Write(good)
		case "/empty":
		case "/no-content":
			w.WriteHeader(204)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 4096)); err != nil {
					return
				}
			}
		case "/trickles":
			for {
				w.Write([]byte(" "))
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		case "/cut":
			w.Header().Set("Content-Length", "9999")
			w.Write(good)
		case "/long-head":
			w.Header().Set("X", strings.Repeat("x", 200_000))
			w.Write(good)
		case "/gzip": // nobody has asked for it
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte("\x1f\x8b\x08"))
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of the client that trusts nobody
	defer s.Close()
	defer close(stop)
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct{ url, authority, want string }{
		{s.URL + "/good", authority, ""},
		{s.URL + "/same", authority, ""},
		{s.URL + "/good", "", "certificate"},
		{s.URL + "/round", authority, "redirects"},
		{s.URL + "/elsewhere", authority, "redirects to another server"},
		{s.URL + "/file", authority, "redirects to another server"},
		{s.URL + "/error", authority, "answers 500"},
		{s.URL + "/empty", authority, "no JWKS"},
		{s.URL + "/no-content", authority, "answers 204"},
		{s.URL + "/endless", authority, "more than"},
		{s.URL + "/trickles", authority, "no whole answer"},
		{s.URL + "/cut", authority, "EOF"},
		{s.URL + "/long-head", authority, "head"},
		{s.URL + "/gzip", authority, "no JWKS"},
		{"http://" + silent.Addr().String(), "", "no whole answer"},
		{"http://" + s.Listener.Addr().String() + "/good", "", "answers 400"},
		{other.URL, "", ""},
	} {
		o := RemoteOptions{URL: c.url + "?token=secret", CA: c.authority, Timeout: 10 * time.Second}
		if c.want == "no whole answer" {
			o.Timeout = 100 * time.Millisecond
		}
		before := elsewhere.Load()
		r, err := NewRemote(o)
		if err != nil {
			t.Fatal(err)
		}
		ok := r.attempt(t.Context())
		if problem := r.Status().Problem; ok != (c.want == "") || !strings.Contains(problem, c.want) || strings.Contains(problem, "secret") {
			t.Errorf("%s: %q, want %q", c.url, problem, c.want)
		}
		if c.url != other.URL && elsewhere.Load() != before {
			t.Errorf("%s: another server was asked", c.url)
		}
	}
}

func TestRemoteOptions(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://a.test/keys": true, "http://127.0.0.1:4646/.well-known/jwks.json": true, "http://[::1]/": true, "http://localhost:80/": true,
		"http://a.test/keys": false, "http://127.0.0.1.evil.test/": false, "http://10.0.0.1/": false, "": false, "/keys": false, "ftp://a.test": false, "file:///etc/passwd": false,
		"https://": false, "https://:443": false, "https://u:secret@a.test/": false, "https://a.test/#x": false, "https://a.test/%zzsecret": false,
	} {
		if _, err := NewRemote(RemoteOptions{URL: url}); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, o := range []RemoteOptions{
		{Timeout: -1}, {Timeout: time.Minute}, {Refresh: time.Second}, {Refresh: 25 * time.Hour}, {CA: "no PEM"},
	} {
		o.URL = "https://a.test/"
		if _, err := NewRemote(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := NewRemote(RemoteOptions{URL: "http://keys.internal/", Plain: true}); err != nil {
		t.Error(err)
	}
}
