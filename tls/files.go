package tls

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"serai/internal/filestamp"
	"serai/internal/history"
)

// Files reads certificates from a directory of NAME.crt and NAME.key pairs in PEM, and
// again whenever one changes. The pair named "default" also answers names that no other
// covers. It polls: a directory filled by a Nomad template, a mounted secret or rsync
// changes by rename, link or rewrite, and a few stat calls detect all of these.
type Files struct {
	// Dir is the directory. Required.
	Dir string
	// Every is the time between two checks, 2s when zero.
	Every time.Duration
	// Read is called once the directory has been read for the first time; nil for no
	// call.
	Read func()
	// Logger gets what cannot be read; nil discards it.
	Logger *slog.Logger
}

// maxPEM bounds a certificate or key file, in bytes.
const maxPEM = 1 << 20

// fallbackName is the pair that answers names that no other covers.
const fallbackName = "default"

// Run publishes the directory's certificates to s at once and after every change, until
// ctx ends, whose error it returns. If a pair cannot be read, its last good certificate
// stays.
func (f *Files) Run(ctx context.Context, s *Store) error {
	logger := f.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	every := f.Every
	if every == 0 {
		every = 2 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	good := make(map[string]*Certificate)
	stamps := make(map[string]string)
	var failed string
	for {
		changed, err := f.scan(good, stamps)
		if changed {
			publish(s, good)
			history.Tell(logger, slog.LevelInfo, history.CertificatesRead, "certificates read", "dir", f.Dir, "certificates", len(good))
		}
		if err == nil {
			failed = ""
		} else if failed != err.Error() { // once for each new problem
			failed = err.Error()
			history.Tell(logger, slog.LevelError, history.CertificatesRefused, "certificates cannot be read; the last good ones are kept", "dir", f.Dir, "error", err)
		}
		if f.Read != nil {
			f.Read()
			f.Read = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Load reads the directory once. The certificates that could be read are published even
// when an error is returned, which names the others.
func (f *Files) Load(s *Store) error {
	good := make(map[string]*Certificate)
	_, err := f.scan(good, make(map[string]string))
	publish(s, good)
	return err
}

// filesSource is the name of this source in a Store.
const filesSource = "files"

func publish(s *Store, good map[string]*Certificate) {
	var all []*Certificate
	for _, name := range slices.Sorted(maps.Keys(good)) {
		all = append(all, good[name])
	}
	s.Set(filesSource, all, good[fallbackName])
}

// scan updates good from the directory and reports whether that changed anything.
// Stamps show which files were already read.
func (f *Files) scan(good map[string]*Certificate, stamps map[string]string) (changed bool, err error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return false, fmt.Errorf("list certificates: %w", err)
	}
	var errs []error
	present := make(map[string]bool)
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".crt")
		if !ok || name == "" {
			continue
		}
		present[name] = true
		crt, key := filepath.Join(f.Dir, name+".crt"), filepath.Join(f.Dir, name+".key")
		stamp, err := stampOf(crt, key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if stamps[name] == stamp {
			continue
		}
		c, err := readPair(crt, key)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// A pair that was being replaced while it was read is read again.
		if again, err := stampOf(crt, key); err != nil || again != stamp {
			continue
		}
		good[name], stamps[name], changed = c, stamp, true
	}
	for name := range good {
		if !present[name] {
			delete(good, name)
			delete(stamps, name)
			changed = true
		}
	}
	return changed, errors.Join(errs...)
}

func readPair(crt, key string) (*Certificate, error) {
	certPEM, err := readBounded(crt)
	if err != nil {
		return nil, err
	}
	keyPEM, err := readBounded(key)
	if err != nil {
		return nil, err
	}
	c, err := NewCertificate(crt, certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	c.Given = true
	return c, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxPEM {
		err = fmt.Errorf("%d bytes are more than a PEM file of %d", info.Size(), maxPEM)
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return os.ReadFile(path)
}

// stampOf returns a stamp that changes when the pair does.
func stampOf(paths ...string) (string, error) {
	var b strings.Builder
	for _, path := range paths {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("read %s: there is no such file beside %s", path, filepath.Base(paths[0]))
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		fmt.Fprintf(&b, "%d/%d ", info.ModTime().UnixNano(), info.Size())
		b.WriteString(filestamp.Inode(info))
	}
	return b.String(), nil
}
