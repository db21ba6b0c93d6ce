package discovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"serai/internal/atomicfile"
	"serai/nomad"
)

// Cache keeps the last known good snapshot on disk, for a start while Nomad is
// away. It holds what Nomad said, tags and all, and no secret.
type Cache struct {
	path   string
	logger *slog.Logger
	mu     sync.Mutex
	newest *Snapshot
	wake   chan struct{}
}

// cacheName is the file in the state directory.
const cacheName = "services.json"

// cacheVersion is that of the format; another one is not read.
const cacheVersion = 1

// maxCache bounds what is read from disk, in bytes.
const maxCache = 1 << 30

type cacheFile struct {
	Version  int                  `json:"version"`
	Index    uint64               `json:"index"`
	Read     time.Time            `json:"read"`
	Services []nomad.Registration `json:"services"`
}

// NewCache keeps the cache in dir, which it makes when it is missing.
func NewCache(dir string, logger *slog.Logger) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Cache{path: filepath.Join(dir, cacheName), logger: logger, wake: make(chan struct{}, 1)}, nil
}

// Load returns the snapshot that was kept, nil when there is none. Services of
// other namespaces than those watched now, and those without a tag of prefix,
// are left out.
func (c *Cache) Load(namespaces *Namespaces, prefix string) (*Snapshot, error) {
	file, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cached services: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxCache))
	if err != nil {
		return nil, fmt.Errorf("read the cached services: %w", err)
	}
	var kept cacheFile
	if err := json.Unmarshal(content, &kept); err != nil {
		return nil, fmt.Errorf("the cached services in %s are damaged, and not used: %w", c.path, err)
	}
	if kept.Version != cacheVersion {
		return nil, fmt.Errorf("the cached services in %s have format %d, want %d, and are not used", c.path, kept.Version, cacheVersion)
	}
	regs := slices.DeleteFunc(kept.Services, func(r nomad.Registration) bool {
		return r.ID == "" || r.ServiceName == "" || !namespaces.Match(r.Namespace)
	})
	return &Snapshot{Services: group(regs, prefix), Origin: OriginCache, Index: kept.Index, Read: kept.Read}, nil
}

// Save keeps a snapshot soon. Snapshots that came from a cache are not worth
// keeping.
func (c *Cache) Save(s *Snapshot) {
	if s.Origin == OriginCache || s.Partial {
		return
	}
	c.mu.Lock()
	c.newest = s
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run writes what is saved, until ctx ends; then it writes once more. A disk
// that fails costs the cache, and nothing else.
func (c *Cache) Run(ctx context.Context) error {
	var complaint string
	for {
		select {
		case <-ctx.Done():
			c.flush(&complaint)
			return ctx.Err()
		case <-c.wake:
		}
		began := time.Now()
		c.flush(&complaint)
		// A big cluster changes all the time: writing takes at most a tenth
		// of one processor.
		select {
		case <-ctx.Done():
		case <-time.After(max(time.Second, 10*time.Since(began))):
		}
	}
}

func (c *Cache) flush(complaint *string) {
	c.mu.Lock()
	s := c.newest
	c.newest = nil
	c.mu.Unlock()
	if s == nil {
		return
	}
	err := c.write(s)
	switch {
	case err == nil:
		*complaint = ""
	case err.Error() != *complaint:
		*complaint = err.Error()
		c.logger.Error("the last known services are not kept: a restart while nomad is away would begin with nothing", "error", err)
	}
}

// write replaces the file in one step, so that a crash leaves the old or the
// new one.
func (c *Cache) write(s *Snapshot) error {
	kept := cacheFile{Version: cacheVersion, Index: s.Index, Read: s.Read, Services: []nomad.Registration{}}
	keys := slices.SortedFunc(maps.Keys(s.Services), func(a, b Key) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	for _, key := range keys {
		for _, i := range s.Services[key].Instances {
			kept.Services = append(kept.Services, *i)
		}
	}
	content, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return atomicfile.Replace(c.path, content, true)
}
