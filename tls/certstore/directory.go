package certstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"serai/internal/atomicfile"
)

// Directory keeps each record in a file of its own that only its owner may read, for
// one node. Processes that share it use file locks.
type Directory struct {
	dir string
	mu  sync.Mutex

	seen   sync.Mutex
	stamps map[string]stamp // by path, from the last scan
}

// stamp identifies the content of a file that was read, and has its version.
type stamp struct {
	modified time.Time
	size     int64
	version  uint64
}

// maxRecord bounds what is read of one file, in bytes: Nomad accepts 64 KiB.
const maxRecord = 1 << 20

// look is the time between two checks for changes by other processes.
const look = time.Second

// NewDirectory keeps records in dir, which it creates if it is missing. It refuses a
// directory to which others can write.
func NewDirectory(dir string) (*Directory, error) {
	if err := atomicfile.Directory(dir); err != nil {
		return nil, fmt.Errorf("certificate store: %w", err)
	}
	return &Directory{dir: dir, stamps: make(map[string]stamp)}, nil
}

func (d *Directory) file(path string) string { return filepath.Join(d.dir, path+".json") }

// Get reads a record.
func (d *Directory) Get(_ context.Context, path string) (*Record, error) {
	content, err := readBounded(d.file(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", d.file(path), ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read a record of the certificate store: %w", err)
	}
	r := &Record{Path: path, Version: versionOf(content)}
	if err := json.Unmarshal(content, &r.Items); err != nil {
		r.Items = nil
	}
	if v, copied := r.Items[copyVersion]; copied {
		delete(r.Items, copyVersion)
		r.Version, _ = strconv.ParseUint(v, 10, 64)
	}
	return r, nil
}

// Read is Get: there is only one copy.
func (d *Directory) Read(ctx context.Context, path string, _ uint64) (*Record, error) {
	return d.Get(ctx, path)
}

func readBounded(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecord {
		return nil, fmt.Errorf("read %s: it is not a regular file of up to %d bytes", name, maxRecord)
	}
	return os.ReadFile(name)
}

// versionOf computes a version from the content: the same content need not be written
// twice.
func versionOf(content []byte) uint64 {
	h := fnv.New64a()
	h.Write(content)
	return h.Sum64() | 1
}

// Put replaces the file in one step: after a crash there is the old or the new one.
func (d *Directory) Put(_ context.Context, path string, items map[string]string, version uint64) (uint64, error) {
	content, err := json.MarshalIndent(items, "", " ")
	if err != nil {
		return 0, err
	}
	unlock, err := d.lock()
	if err != nil {
		return 0, err
	}
	defer unlock()
	have := uint64(0)
	old, err := readBounded(d.file(path))
	switch {
	case err == nil:
		have = versionOf(old)
	case !errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("write to the certificate store: %w", err)
	}
	if have != version {
		return 0, fmt.Errorf("write %s: %w", d.file(path), ErrConflict)
	}
	if err := d.replace(d.file(path), content, true); err != nil {
		return 0, fmt.Errorf("write to the certificate store: %w", err)
	}
	return versionOf(content), nil
}

func (d *Directory) replace(name string, content []byte, press bool) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return atomicfile.Replace(name, content, press)
}

// lock excludes other writers, of this process and of others.
func (d *Directory) lock() (unlock func(), err error) {
	d.mu.Lock()
	file, err := os.OpenFile(filepath.Join(d.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("lock the certificate store: %w", err)
	}
	return func() {
		file.Close()
		d.mu.Unlock()
	}, nil
}

// Delete removes a file.
func (d *Directory) Delete(_ context.Context, path string) error {
	if err := os.Remove(d.file(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from the certificate store: %w", err)
	}
	return nil
}

// List reads the files below a path, once a second while it waits.
func (d *Directory) List(ctx context.Context, below string, index uint64) ([]Entry, uint64, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		entries, newIndex, err := d.scan(below)
		if err != nil || newIndex != index || time.Now().After(deadline) {
			return entries, newIndex, err
		}
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(look):
		}
	}
}

// ListNewest reads the files once.
func (d *Directory) ListNewest(_ context.Context, below string) ([]Entry, error) {
	entries, _, err := d.scan(below)
	return entries, err
}

// scan lists the records below a path. The index is computed from their versions.
func (d *Directory) scan(below string) ([]Entry, uint64, error) {
	found := make(map[string]uint64)
	err := filepath.WalkDir(filepath.Join(d.dir, below), func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || e.IsDir() {
			return err
		}
		path, ok := strings.CutSuffix(name, ".json")
		if !ok || strings.HasPrefix(e.Name(), ".") {
			return nil
		}
		if path, err = filepath.Rel(d.dir, path); err != nil {
			return err
		}
		if version, ok := d.versionAt(path, e); ok {
			found[path] = version
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list the certificate store: %w", err)
	}
	entries := make([]Entry, 0, len(found))
	sum := fnv.New64a()
	for _, path := range slices.Sorted(maps.Keys(found)) {
		entries = append(entries, Entry{path, found[path]})
		fmt.Fprintf(sum, "%s=%d\n", path, found[path])
	}
	return entries, sum.Sum64() | 1, nil
}

// versionAt returns the version of a file, which it reads only if it seems changed;
// false when it is gone or is not a record.
func (d *Directory) versionAt(path string, e fs.DirEntry) (uint64, bool) {
	info, err := e.Info()
	if err != nil {
		return 0, false
	}
	d.seen.Lock()
	old, known := d.stamps[path]
	d.seen.Unlock()
	if known && old.modified.Equal(info.ModTime()) && old.size == info.Size() {
		return old.version, true
	}
	content, err := readBounded(d.file(path))
	if err != nil {
		return 0, false
	}
	fresh := stamp{info.ModTime(), info.Size(), versionOf(content)}
	// A file that was written a moment ago may be written again without a change of its
	// modification time.
	if time.Since(fresh.modified) > look {
		d.seen.Lock()
		d.stamps[path] = fresh
		d.seen.Unlock()
	}
	return fresh.version, true
}

// Lead takes a file lock, which is released when the process ends.
func (d *Directory) Lead(ctx context.Context, name string, lead func(context.Context)) error {
	file, err := os.OpenFile(filepath.Join(d.dir, ".leader"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lead the certificate store: %w", err)
	}
	defer file.Close()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lead the certificate store: %w", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
	}
	_, err = file.WriteAt([]byte(name), 0)
	if err = errors.Join(err, file.Truncate(int64(len(name)))); err != nil {
		return fmt.Errorf("lead the certificate store: %w", err)
	}
	lead(ctx)
	return ctx.Err()
}

// Leader reads the name that was written last.
func (d *Directory) Leader(context.Context) (string, error) {
	content, err := readBounded(filepath.Join(d.dir, ".leader"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(content), err
}

// copyVersion is the item of a copy that has the version in the other store, so that an
// unchanged record need not be read again.
const copyVersion = "~version"

// Copy writes a record of another store, replacing any other. It does not sync to disk:
// a record that a crash damages is read from the other store again.
func (d *Directory) Copy(r *Record) error {
	items := maps.Clone(r.Items)
	items[copyVersion] = strconv.FormatUint(r.Version, 10)
	content, err := json.MarshalIndent(items, "", " ")
	if err == nil {
		err = d.replace(d.file(r.Path), content, false)
	}
	return err
}
