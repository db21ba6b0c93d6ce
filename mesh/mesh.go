// Package mesh answers: who is serai in Consul's mesh, and whom does it believe there?
//
// The agent of the node issues serai's certificate and tells the authorities, and renews
// both; whatever it fails to tell, the last ones are used as long as they are valid.
package mesh

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"serai/consul"
	"serai/upstream"
)

// Options are the options of a Mesh. Zero values mean the defaults given here.
type Options struct {
	// Client talks to the agent. Required.
	Client *consul.Client
	// Service is the name that serai has in the mesh, and in its intentions: "serai".
	Service string
	// Wait is how long the agent holds a query for which there is nothing new, 1m.
	Wait time.Duration
	// Logger may be nil.
	Logger *slog.Logger
}

// Mesh is serai's place in Consul's mesh. It asks for nothing before a connection is wanted.
// All methods may be called concurrently.
type Mesh struct {
	options Options
	wanted  chan struct{} // closed when a connection is wanted
	want    func()
	known   atomic.Pointer[identity]
	leaf    *followed
	roots   *followed

	mu       sync.Mutex // held by writers of known, and for verdicts
	verdicts map[upstream.Peer]*verdict
	asks     chan upstream.Peer
}

var _ upstream.Mesh = (*Mesh)(nil)

// identity is what is known at one moment. Never modified.
type identity struct {
	certificate *tls.Certificate // nil before there is one
	uri         string           // in it
	from, until time.Time        // its validity

	pool                  *x509.CertPool // nil before it was read
	domain                string         // the trust domain
	roots                 int
	rootsFrom, rootsUntil time.Time // validity of the root that ends last
}

// New makes a Mesh.
func New(o Options) (*Mesh, error) {
	if o.Client == nil {
		return nil, errors.New("mesh: the client is missing")
	}
	o.Service, o.Wait = cmp.Or(o.Service, "serai"), cmp.Or(o.Wait, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Mesh{
		options: o, wanted: make(chan struct{}), verdicts: make(map[upstream.Peer]*verdict), asks: make(chan upstream.Peer, 16),
		leaf: newFollowed("certificate"), roots: newFollowed("list of roots"),
	}
	m.want = sync.OnceFunc(func() { close(m.wanted) })
	m.known.Store(&identity{})
	return m, nil
}

// Run follows the certificate and the roots until ctx ends, and returns its error once
// everything that it has started has ended.
func (m *Mesh) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-m.wanted:
	}
	var running sync.WaitGroup
	running.Go(func() { m.follow(ctx, m.roots, m.readRoots) })
	running.Go(func() { m.follow(ctx, m.leaf, m.readLeaf) })
	running.Go(func() { m.judge(ctx) })
	running.Wait()
	return ctx.Err()
}

// readLeaf reads serai's certificate.
func (m *Mesh) readLeaf(ctx context.Context, q consul.Query) (consul.Meta, error) {
	leaf, meta, err := m.options.Client.Leaf(ctx, m.options.Service, q)
	if err != nil {
		return meta, err
	}
	c, err := tls.X509KeyPair([]byte(leaf.CertPEM), []byte(leaf.PrivateKeyPEM))
	if err != nil {
		// The library's text may quote what it was given.
		return meta, fmt.Errorf("read the certificate that Consul has issued for service %q: certificate and key cannot be used together", m.options.Service)
	}
	if now := time.Now(); now.After(c.Leaf.NotAfter) {
		return meta, fmt.Errorf("read the certificate that Consul has issued for service %q: it ended at %s, and it is %s here: set the clocks",
			m.options.Service, c.Leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	uri, err := onlyURI(c.Leaf)
	if err != nil {
		return meta, fmt.Errorf("read the certificate that Consul has issued for service %q: %w", m.options.Service, err)
	}
	m.learn(m.leaf, string(c.Certificate[0]), func(i *identity) {
		i.certificate, i.uri, i.from, i.until = &c, uri.String(), c.Leaf.NotBefore, c.Leaf.NotAfter
	}, func(i *identity) []any { return []any{"uri", i.uri, "until", i.until} })
	return meta, nil
}

// readRoots reads the authorities.
func (m *Mesh) readRoots(ctx context.Context, q consul.Query) (consul.Meta, error) {
	roots, meta, err := m.options.Client.Roots(ctx, q)
	if err != nil {
		return meta, err
	}
	next, now, all := identity{pool: x509.NewCertPool(), domain: roots.TrustDomain}, time.Now(), roots.TrustDomain
	for i := range roots.Roots {
		for _, c := range certificatesIn(roots.Roots[i].RootCert) {
			if now.After(c.NotAfter) {
				continue
			}
			next.pool.AddCert(c)
			next.roots++
			all += string(c.Raw)
			if c.NotAfter.After(next.rootsUntil) {
				next.rootsFrom, next.rootsUntil = c.NotBefore, c.NotAfter
			}
		}
	}
	if next.roots == 0 {
		return meta, fmt.Errorf("read the roots of Consul's mesh: none of %d is a certificate that is valid now", len(roots.Roots))
	}
	m.learn(m.roots, all, func(i *identity) {
		i.pool, i.domain, i.roots, i.rootsFrom, i.rootsUntil = next.pool, next.domain, next.roots, next.rootsFrom, next.rootsUntil
	}, func(i *identity) []any {
		return []any{"trust_domain", i.domain, "roots", i.roots, "until", i.rootsUntil}
	})
	return meta, nil
}

// learn publishes what has been read, if it is new, and logs what is told of it.
func (m *Mesh) learn(f *followed, content string, change func(*identity), told func(*identity) []any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.content == content {
		return
	}
	f.content = content
	next := *m.known.Load()
	change(&next)
	m.known.Store(&next)
	f.changes.Add(1)
	m.options.Logger.Info("new "+f.what+" from consul's mesh in use", told(&next)...)
}
