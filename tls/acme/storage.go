package acme

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/certmagic"

	"serai/internal/sleep"
	"serai/tls"
	"serai/tls/certstore"
)

// storage is certmagic's view of the store. The three files of a certificate are one
// record, which an order reads once and writes once (see site); accounts and tokens are
// a record each.
//
// Its locks only work within this process: that no other process orders is ensured by
// the leader's lock and the check-and-set of site.
type storage struct {
	store  certstore.Store
	sealer *certstore.Sealer

	mu    sync.Mutex
	locks map[string]chan struct{}
}

var _ certmagic.Storage = (*storage)(nil)

// site is the certificate of one host during one order.
type site struct {
	path, ca, host string
	version        uint64            // of the record that the order replaces, 0 for none
	items          map[string]string // crt, key (open) and json as they were read
	staged         map[string]string // and as they will be
	namespace      string
	validations    int // begun; the CA may fail each of them
	written        bool
	err            error // why it could not be written
}

// check returns an error if the certificate of the CA is not one for the host and the key, or
// if it would replace one that is valid and is not valid itself. One that is valid before ctx
// ends is waited for.
func (s *site) check(ctx context.Context) error {
	c, err := tls.NewCertificate("of the CA", []byte(s.staged["crt"]), []byte(s.staged["key"]))
	if err == nil && !c.Covers(s.host) {
		err = fmt.Errorf("it covers %s", strings.Join(c.Names, ", "))
	}
	if err == nil && s.hasValid() {
		err = awaitValid(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("the CA has issued a certificate that cannot be used: %w", err)
	}
	return nil
}

// hasValid reports whether the certificate that the order replaces is valid now.
func (s *site) hasValid() bool {
	if s.items == nil {
		return false
	}
	old, err := tls.NewCertificate("in the store", []byte(s.items["crt"]), []byte(s.items["key"]))
	return err == nil && validAt(old, time.Now())
}

// awaitValid waits until a certificate is valid; if that is not before ctx ends, it returns an
// error.
func awaitValid(ctx context.Context, c *tls.Certificate) error {
	wait := time.Until(c.Leaf.NotBefore)
	if end, bounded := ctx.Deadline(); wait > 0 && (!bounded || time.Now().Add(wait).Before(end)) {
		if err := sleep.For(ctx, wait); err != nil {
			return err
		}
	}
	if validAt(c, time.Now()) {
		return nil
	}
	return fmt.Errorf("it is valid from %s to %s, and the present one is valid now: the clock of the CA, or of this node, may be wrong",
		c.Leaf.NotBefore.UTC().Format(time.RFC3339), c.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

func validAt(c *tls.Certificate, t time.Time) bool {
	return !t.Before(c.Leaf.NotBefore) && !t.After(c.Leaf.NotAfter)
}

type siteKey struct{}

// siteOf returns the order's site and the item for a key, if it is a key of a
// certificate.
func siteOf(ctx context.Context, key string) (s *site, item string, err error) {
	if !strings.HasPrefix(key, "certificates/") {
		return nil, "", nil
	}
	s, _ = ctx.Value(siteKey{}).(*site)
	item = strings.TrimPrefix(path.Ext(key), ".")
	if s == nil || key != path.Join("certificates", s.ca, s.host, s.host+"."+item) {
		return nil, "", fmt.Errorf("%s is not the certificate that is ordered", key)
	}
	return s, item, nil
}

// noteValidation counts a token that an order has stored.
func noteValidation(ctx context.Context, key string) {
	if s, _ := ctx.Value(siteKey{}).(*site); s != nil && strings.Contains(key, tokenFolder) {
		s.validations++
	}
}

// genericPath is the path of everything that is not a certificate.
func genericPath(key string) string { return certstore.Path(acmePath, key) }

// Store writes. A certificate is written with the last of its files, json, in one step
// and only over the version that the order has seen: a serai that is no longer the
// leader fails here.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	if !utf8.Valid(value) {
		return fmt.Errorf("store %s: it is not text", key)
	}
	site, item, err := siteOf(ctx, key)
	if err != nil {
		return err
	}
	if site == nil {
		if err := s.storeOther(ctx, key, string(value)); err != nil {
			return err
		}
		noteValidation(ctx, key)
		return nil
	}
	site.staged[item] = string(value)
	if item != "json" {
		return nil
	}
	if site.staged["crt"] == "" || site.staged["key"] == "" {
		return fmt.Errorf("store %s: the certificate or its key is missing", key)
	}
	// One that nobody can serve would be ordered again at once, and again: as a failure, the
	// next order waits.
	if site.err = site.check(ctx); site.err != nil {
		return site.err
	}
	items := map[string]string{
		"name": site.host, "namespace": site.namespace, "ca": site.ca, "crt": site.staged["crt"], "json": site.staged["json"],
		"key": s.sealer.Seal(site.path, "key", site.staged["key"]),
	}
	site.err = s.put(ctx, site, items)
	site.written = site.err == nil
	return site.err
}

// put writes a certificate that the CA has issued. It tries for a while: a store that
// is unreachable for a moment must not cost another order.
func (s *storage) put(ctx context.Context, site *site, items map[string]string) error {
	for {
		_, err := s.store.Put(ctx, site.path, items, site.version)
		if err == nil {
			return nil
		}
		// Perhaps only the answer was lost.
		if r, again := s.store.Get(ctx, site.path); again == nil && r.Items["crt"] == items["crt"] {
			return nil
		}
		if errors.Is(err, certstore.ErrConflict) || ctx.Err() != nil {
			return err
		}
		if sleep.For(ctx, time.Second); ctx.Err() != nil {
			return err
		}
	}
}

func (s *storage) storeOther(ctx context.Context, key, value string) error {
	at := genericPath(key)
	items := map[string]string{"name": key, "value": s.sealer.Seal(at, "value", value)}
	for {
		version := uint64(0)
		switch r, err := s.store.Get(ctx, at); {
		case err == nil:
			version = r.Version
		case !errors.Is(err, certstore.ErrNotFound):
			return err
		}
		_, err := s.store.Put(ctx, at, items, version)
		if !errors.Is(err, certstore.ErrConflict) || ctx.Err() != nil {
			return err
		}
		sleep.For(ctx, 100*time.Millisecond)
	}
}

// Load reads.
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	site, item, err := siteOf(ctx, key)
	if err != nil {
		return nil, err
	}
	if site != nil {
		if v, ok := site.items[item]; ok {
			return []byte(v), nil
		}
		return nil, fmt.Errorf("load %s: %w", key, fs.ErrNotExist)
	}
	at := genericPath(key)
	r, err := s.store.Get(ctx, at)
	if errors.Is(err, certstore.ErrNotFound) || err == nil && r.Items["name"] != key {
		return nil, fmt.Errorf("load %s: %w", key, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	value, err := s.sealer.Open(at, "value", r.Items["value"])
	return []byte(value), err
}

// Delete removes a key. It undoes what an order has staged, and does not touch the
// store's certificates.
func (s *storage) Delete(ctx context.Context, key string) error {
	site, item, err := siteOf(ctx, key)
	if err != nil {
		return err
	}
	if site != nil {
		delete(site.staged, item)
		return nil
	}
	return s.store.Delete(ctx, genericPath(key))
}

// Exists reports whether Load would find something.
func (s *storage) Exists(ctx context.Context, key string) bool {
	_, err := s.Load(ctx, key)
	return err == nil
}

// List returns the keys below a path, except those of certificates.
func (s *storage) List(ctx context.Context, below string, recursive bool) ([]string, error) {
	entries, _, err := s.store.List(ctx, acmePath, 0)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		r, err := s.store.Get(ctx, e.Path)
		if err != nil {
			continue // removed meanwhile
		}
		rest, ok := strings.CutPrefix(r.Items["name"], below+"/")
		if ok && (recursive || !strings.Contains(rest, "/")) {
			keys = append(keys, r.Items["name"])
		}
	}
	return keys, nil
}

// Stat returns the size of a key's value.
func (s *storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	value, err := s.Load(ctx, key)
	return certmagic.KeyInfo{Key: key, Size: int64(len(value)), IsTerminal: true}, err
}

// Lock waits for an exclusive right within this process.
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		s.mu.Lock()
		held := s.locks[name]
		if held == nil {
			s.locks[name] = make(chan struct{})
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock releases it.
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.locks[name])
	delete(s.locks, name)
	return nil
}
