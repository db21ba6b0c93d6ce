package acme_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"serai/tls"
	"serai/tls/acme"
	"serai/tls/certstore"
)

// TestMain checks for leaked goroutines, except those that Pebble and certmagic's rate
// limiter never end.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"),
		goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.(*RingBufferRateLimiter).loop"))
}

// memory is a store in memory that can be made to fail.
type memory struct {
	mu      sync.Mutex
	records map[string]*certstore.Record
	index   uint64
	gets    int
	lists   int // newest ones
	changed chan struct{}
	fail    error // of reads
	full    error // of writes
}

func newMemory() *memory {
	return &memory{records: make(map[string]*certstore.Record), index: 1, changed: make(chan struct{})}
}

func (m *memory) Get(_ context.Context, path string) (*certstore.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	if m.fail != nil {
		return nil, m.fail
	}
	if r := m.records[path]; r != nil {
		return r, nil
	}
	return nil, certstore.ErrNotFound
}

func (m *memory) reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets
}

func (m *memory) Read(ctx context.Context, path string, _ uint64) (*certstore.Record, error) {
	return m.Get(ctx, path)
}

func (m *memory) Put(_ context.Context, path string, items map[string]string, version uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full != nil {
		return 0, m.full
	}
	have := uint64(0)
	if r := m.records[path]; r != nil {
		have = r.Version
	}
	if have != version {
		return 0, certstore.ErrConflict
	}
	m.index++
	m.records[path] = &certstore.Record{Path: path, Items: items, Version: m.index}
	close(m.changed)
	m.changed = make(chan struct{})
	return m.index, nil
}

func (m *memory) Delete(_ context.Context, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, path)
	m.index++
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

func (m *memory) List(ctx context.Context, below string, index uint64) (list []certstore.Entry, next uint64, err error) {
	for {
		m.mu.Lock()
		next, changed, err := m.index, m.changed, m.fail
		for path, r := range m.records {
			if strings.HasPrefix(path, below+"/") {
				list = append(list, certstore.Entry{Path: path, Version: r.Version})
			}
		}
		m.mu.Unlock()
		if err != nil || next != index {
			return list, next, err
		}
		list = nil
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-changed:
		}
	}
}

func (m *memory) ListNewest(ctx context.Context, below string) ([]certstore.Entry, error) {
	m.mu.Lock()
	m.lists++
	m.mu.Unlock()
	list, _, err := m.List(ctx, below, 0)
	return list, err
}

func (m *memory) Lead(ctx context.Context, _ string, lead func(context.Context)) error {
	lead(ctx)
	return ctx.Err()
}

func (m *memory) Leader(context.Context) (string, error) { return "me", nil }

// items makes a record of a certificate for a host.
func items(t testing.TB, host string, from, until time.Time) map[string]string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, DNSNames: []string{host}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"name": host, "ca": "ca", "json": "{}",
		"crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}
}

func certPath(host string) string { return certstore.Path("tls", "certs", "ca", host) }

// mirror runs an issuer that orders nothing, until the test ends.
func mirror(t testing.TB, o acme.Options) *tls.Store {
	t.Helper()
	o.Certificates, o.Name = tls.NewStore(), "test"
	i, err := acme.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); i.Run(ctx) }()
	i.Changed()
	t.Cleanup(func() { cancel(); <-ended })
	return o.Certificates
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestMirror follows what others write, and keeps what it has while the store
// is away, empty, or damaged.
func TestMirror(t *testing.T) {
	now, store := time.Now(), newMemory()
	ctx := context.Background()
	local, err := certstore.NewDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	serves := func(s *tls.Store, host string) bool { return s.Current().Lookup(host) != nil }
	certs := mirror(t, acme.Options{Store: store, Local: local})
	version, err := store.Put(ctx, certPath("a.test"), items(t, "a.test", now, now.Add(time.Hour)), 0)
	if err != nil {
		t.Fatal(err)
	}
	// The clock of the CA may be ahead of ours.
	if _, err := store.Put(ctx, certPath("ahead.test"), items(t, "ahead.test", now.Add(10*time.Minute), now.Add(time.Hour)), 0); err != nil {
		t.Fatal(err)
	}
	until(t, "the certificates", func() bool { return serves(certs, "a.test") && serves(certs, "ahead.test") })
	first := certs.Current().Lookup("a.test")

	good := items(t, "a.test", now, now.Add(time.Hour))
	with := func(name, value string) map[string]string {
		bad := map[string]string{}
		for k, v := range good {
			bad[k] = v
		}
		bad[name] = value
		return bad
	}
	for name, bad := range map[string]map[string]string{
		"no key": with("key", ""), "another's key": with("key", items(t, "a.test", now, now.Add(time.Hour))["key"]),
		"another name": with("name", "b.test"), "another CA": with("ca", "other"), "sealed": with("key", "sealed:1:AAAA"),
		"garbage": with("crt", "garbage"), "nothing": {"x": "y"}, "certificate of another": with("crt", items(t, "b.test", now, now.Add(time.Hour))["crt"]),
	} {
		if version, err = store.Put(ctx, certPath("a.test"), bad, version); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		if got := certs.Current().Lookup("a.test"); got != first || serves(certs, "b.test") {
			t.Errorf("%s: %v is served", name, got)
		}
	}
	// An empty list may be a refusal by Nomad, so the record itself is read.
	store.mu.Lock()
	kept := store.records
	store.fail = fmt.Errorf("no")
	store.mu.Unlock()
	store.Delete(ctx, "nothing")
	time.Sleep(10 * time.Millisecond)
	if !serves(certs, "a.test") {
		t.Error("nothing is served while the store is away")
	}
	store.mu.Lock()
	store.fail, store.records = nil, map[string]*certstore.Record{certPath("ahead.test"): kept[certPath("ahead.test")]}
	store.mu.Unlock()
	store.Delete(ctx, "nothing")
	until(t, "the removed certificate to go", func() bool { return !serves(certs, "a.test") && serves(certs, "ahead.test") })

	away := newMemory()
	away.fail = fmt.Errorf("away")
	again := mirror(t, acme.Options{Store: away, Local: local})
	until(t, "the certificates of this node's copy", func() bool { return serves(again, "ahead.test") })
	if serves(again, "a.test") {
		t.Error("this node's copy has a certificate that is gone")
	}
}

// TestOwnCAComesFirst: a certificate of our CA is preferred to one of another CA that
// is valid longer, which is served only while there is none of ours.
func TestOwnCAComesFirst(t *testing.T) {
	now, store := time.Now(), newMemory()
	put := func(ca string, until time.Time) {
		r := items(t, "a.test", now, until)
		r["ca"] = ca
		if _, err := store.Put(context.Background(), certstore.Path("tls", "certs", ca, "a.test"), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	certs := mirror(t, acme.Options{
		Store: store, Email: "a@example.org", Directory: "https://own.test/dir", HTTPAddress: "127.0.0.1:1", CARoots: func() (*x509.CertPool, error) { return x509.NewCertPool(), nil },
		Hosts: func() []acme.Host { return nil }, Wants: func(string) bool { return false },
	})
	put("staging", now.AddDate(1, 0, 0))
	until(t, "the other CA's", func() bool { return certs.Current().Lookup("a.test") != nil })
	put("own.test-dir", now.Add(time.Hour))
	until(t, "our CA's", func() bool { return certs.Current().Lookup("a.test").Source == "acme:own.test-dir" })
}

// TestManyCertificates loads five thousand, and prints their cost.
func TestManyCertificates(t *testing.T) {
	const n = 5000
	store, now := newMemory(), time.Now()
	for i := range n {
		host := fmt.Sprintf("host-%d.example.org", i)
		if _, err := store.Put(context.Background(), certPath(host), items(t, host, now, now.Add(time.Hour)), 0); err != nil {
			t.Fatal(err)
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, began := heap(), time.Now()
	certs := mirror(t, acme.Options{Store: store})
	until(t, "all certificates", func() bool { return len(certs.Current().Status()) == n })
	t.Logf("%d certificates: read in %v, %d bytes each", n, time.Since(began).Round(time.Millisecond), (heap()-before)/n)
	for i := range n {
		if certs.Current().Lookup(fmt.Sprintf("host-%d.example.org", i)) == nil {
			t.Fatalf("host %d has no certificate", i)
		}
	}
}
