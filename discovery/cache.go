package discovery

import (
	"bufio"
	"cmp"
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
	"serai/internal/sleep"
)

// Cache keeps the last known good snapshot of a source on disk, for a start while that is
// unreachable. It has what the source said, with all tags, and no secret.
type Cache struct {
	path   string
	of     string // the source
	logger *slog.Logger
	mu     sync.Mutex
	newest *Snapshot
	wake   chan struct{}
}

// The files in the state directory.
const (
	cacheName       = "services.json"
	consulCacheName = "services-consul.json"
)

// cacheVersion is the version of the format; other versions are not read.
const cacheVersion = 1

// maxCache bounds what is read from disk, in bytes.
const maxCache = 1 << 30

// NewCache keeps the cache of Nomad's services in dir, which it creates if it is missing.
// It refuses a directory to which others can write.
func NewCache(dir string, logger *slog.Logger) (*Cache, error) {
	return newCache("nomad", dir, cacheName, logger)
}

// NewConsulCache is NewCache for Consul's services.
func NewConsulCache(dir string, logger *slog.Logger) (*Cache, error) {
	return newCache("consul", dir, consulCacheName, logger)
}

func newCache(of, dir, name string, logger *slog.Logger) (*Cache, error) {
	if err := atomicfile.Directory(dir); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Cache{path: filepath.Join(dir, name), of: of, logger: logger, wake: make(chan struct{}, 1)}, nil
}

// Load returns the cached snapshot, nil when there is none. It leaves out services of
// namespaces that are not watched now (all are if namespaces is nil), and services without
// a tag of prefix.
func (c *Cache) Load(namespaces *Namespaces, prefix string) (*Snapshot, error) {
	file, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the cached services: %w", err)
	}
	defer file.Close()
	s, instances, err := decode(io.LimitReader(file, maxCache))
	if err != nil {
		return nil, fmt.Errorf("the cached services in %s are not used: %w", c.path, err)
	}
	instances = slices.DeleteFunc(instances, func(i *Instance) bool {
		return i.ID == "" || i.Service == "" || namespaces != nil && !namespaces.Match(i.Namespace)
	})
	s.Services = group(instances, prefix)
	return s, nil
}

// Save writes a snapshot soon. It ignores snapshots that came from a cache.
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

// Run writes what is saved, until ctx ends; then it writes once more. When the disk
// fails, only the cache is lost.
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
		// A big cluster changes all the time: writing takes at most a tenth of one
		// processor.
		sleep.For(ctx, max(time.Second, 10*time.Since(began)))
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
		c.logger.Error("the last known services cannot be saved: a restart while their source is unreachable would begin with nothing", "source", c.of, "error", err)
	}
}

// write replaces the file in one step, so that a crash leaves the old or the new one.
func (c *Cache) write(s *Snapshot) error {
	return atomicfile.Write(c.path, true, func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 64<<10)
		return errors.Join(encode(buffered, s), buffered.Flush())
	})
}

// encode writes a snapshot as a JSON object with one instance on each line, one after
// the other: all together would take many times the memory of one instance.
func encode(w io.Writer, s *Snapshot) error {
	read, err := json.Marshal(s.Read)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, `{"version":%d,"index":%d,"read":%s,"services":[`, cacheVersion, s.Index, read); err != nil {
		return err
	}
	keys := slices.SortedFunc(maps.Keys(s.Services), func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	encoder, separator := json.NewEncoder(w), "\n"
	for _, key := range keys {
		for _, i := range s.Services[key].Instances {
			if _, err := io.WriteString(w, separator); err != nil {
				return err
			}
			if err := encoder.Encode(i); err != nil {
				return err
			}
			separator = ","
		}
	}
	_, err = io.WriteString(w, "]}\n")
	return err
}

// decode reads what encode wrote. The snapshot has no services yet.
func decode(r io.Reader) (*Snapshot, []*Instance, error) {
	d := json.NewDecoder(r)
	s := &Snapshot{Origin: OriginCache}
	var instances []*Instance
	version := 0
	members := map[string]func() error{
		"version": func() error { return d.Decode(&version) },
		"index":   func() error { return d.Decode(&s.Index) },
		"read":    func() error { return d.Decode(&s.Read) },
		"services": func() error {
			return each(d, '[', func() error {
				i := &Instance{}
				instances = append(instances, i)
				return d.Decode(i)
			})
		},
	}
	err := each(d, '{', func() error {
		name, err := d.Token()
		if err != nil {
			return err
		}
		if read := members[name.(string)]; read != nil {
			return read()
		}
		return d.Decode(new(json.RawMessage))
	})
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("they are damaged: %w", err)
	case version != cacheVersion:
		return nil, nil, fmt.Errorf("they have format %d, want %d", version, cacheVersion)
	}
	return s, instances, nil
}

// each calls read before each member or element of the object or array that
// begins with open.
func each(d *json.Decoder, open json.Delim, read func() error) error {
	if t, err := d.Token(); err != nil || t != open {
		return cmp.Or(err, fmt.Errorf("want %v, have %v", open, t))
	}
	for d.More() {
		if err := read(); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}
