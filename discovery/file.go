package discovery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"sync"
	"time"

	"serai/internal/filestamp"
	"serai/internal/history"
	"serai/internal/mayhang"
	"serai/nomad"
)

// FileOptions are the options of a File. Zero values mean the defaults given here.
type FileOptions struct {
	// Path is a JSON array of Nomad's ServiceRegistration objects, as
	// `nomad service info -json` prints. Required.
	Path string
	// Prefix is the prefix of our tags, "ingress".
	Prefix string
	// Every is how often the file is checked for changes, 1s.
	Every time.Duration
	// MaxSize bounds the file in bytes, 64 MiB.
	MaxSize int64
	// Logger may be nil.
	Logger *slog.Logger
}

// File is a Source of static instances. A file that cannot be read, or that has an
// error, changes nothing: its last content stays.
type File struct {
	options FileOptions
	mu      sync.Mutex
	status  Status
}

// NewFile makes a File. The file need not exist yet.
func NewFile(o FileOptions) (*File, error) {
	if o.Path == "" {
		return nil, errors.New("file source: path is empty")
	}
	o.Prefix = cmp.Or(o.Prefix, "ingress")
	o.Every = cmp.Or(o.Every, time.Second)
	o.MaxSize = cmp.Or(o.MaxSize, 64<<20)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &File{options: o, status: Status{Source: "file " + o.Path, Phase: Starting, Since: time.Now(), Static: true}}, nil
}

// Status returns the state of the source.
func (f *File) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []Status{f.status}
}

// Check reads the file once, and returns how many services with our tags it has, or what is wrong
// with it.
func (f *File) Check() (services int, err error) {
	r := f.read(&reading{})
	if r.err != nil {
		return 0, r.err
	}
	all, err := f.parse(r.content)
	return len(all), err
}

// Run reads the file, and again whenever its content changes.
func (f *File) Run(ctx context.Context, out chan<- *Snapshot) error {
	tick := time.NewTicker(f.options.Every)
	defer tick.Stop()
	var last reading
	var complaint string
	services := make(map[Key]*Service)
	for {
		this, hung, ok := f.look(ctx, last)
		if !ok {
			return ctx.Err()
		}
		err := this.err
		if hung {
			complaint = ""
			if err == nil {
				f.note(services, nil)
			}
		}
		if err == nil && (this.sum != last.sum || last.err != nil) {
			var next map[Key]*Service
			if next, err = f.parse(this.content); err == nil {
				keep(next, services)
				services = next
				f.note(services, nil)
				now := time.Now()
				select {
				case out <- &Snapshot{Services: maps.Clone(services), Read: now, Changed: now}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		this.content, this.err = nil, err
		last = this
		switch {
		case err == nil:
			complaint = ""
		case err.Error() != complaint:
			complaint = err.Error()
			history.Tell(f.options.Logger, slog.LevelError, history.SourceLost, "the file of static services cannot be read; the last good services stay in use", "source", "file "+f.options.Path, "error", err)
			f.note(services, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (f *File) note(services map[Key]*Service, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &f.status
	if err != nil {
		s.Problem = err.Error()
		if s.Phase == Live {
			s.Phase, s.Since = Stale, time.Now()
		}
		return
	}
	s.Problem = ""
	s.Read = time.Now()
	if s.Phase != Live {
		if s.Phase == Stale {
			history.Tell(f.options.Logger, slog.LevelInfo, history.SourceBack, "the file of static services can be read again", "source", s.Source)
		}
		s.Phase, s.Since = Live, s.Read
	}
	s.count(services)
}

// reading is the file at one moment.
type reading struct {
	at      time.Time
	info    os.FileInfo // nil when there was none
	sum     [sha256.Size]byte
	content []byte // until it is parsed
	err     error  // of reading, and then of parsing
}

// settled is the age from which a change time identifies the content: two changes
// within the clock's resolution have the same time.
const settled = 2 * time.Second

// holds reports whether the file is unchanged.
func (r *reading) holds(info os.FileInfo) bool {
	return r.info != nil && os.SameFile(r.info, info) && r.info.Size() == info.Size() &&
		r.info.ModTime().Equal(info.ModTime()) && r.at.Sub(info.ModTime()) > settled && filestamp.Inode(r.info) == filestamp.Inode(info)
}

// look reads the file, and returns false when ctx ends first. Hung says that the status has
// reported that the read hangs.
func (f *File) look(ctx context.Context, last reading) (r reading, hung, ok bool) {
	r, ok = mayhang.Read(ctx, func() reading { return f.read(&last) }, func() {
		hung = true
		f.note(nil, fmt.Errorf("read static services: %s hangs: it is a FIFO, or on a mount whose server does not answer", f.options.Path))
		history.Tell(f.options.Logger, slog.LevelError, history.SourceLost, "reading the file of static services hangs; the last good services stay in use", "source", "file "+f.options.Path, "path", f.options.Path)
	})
	return r, hung, ok
}

// read reads the file, or returns the last reading if the file is unchanged.
func (f *File) read(last *reading) (r reading) {
	r = reading{at: time.Now(), sum: last.sum}
	file, err := mayhang.Open(f.options.Path)
	if err != nil {
		r.err = fmt.Errorf("read static services: %w", err)
		return r
	}
	defer file.Close()
	if r.info, err = file.Stat(); err == nil && last.holds(r.info) {
		return *last
	}
	if r.content, err = io.ReadAll(io.LimitReader(file, f.options.MaxSize+1)); err != nil {
		r.info, r.err = nil, fmt.Errorf("read static services: %w", err)
		return r
	}
	if int64(len(r.content)) > f.options.MaxSize {
		r.err = fmt.Errorf("read static services: %s has more than %d bytes", f.options.Path, f.options.MaxSize)
		return r
	}
	r.sum = sha256.Sum256(r.content)
	return r
}

// parse parses the whole file or fails. It drops services without our tags.
func (f *File) parse(content []byte) (map[Key]*Service, error) {
	instances, err := parseInstances(content)
	if err != nil {
		return nil, fmt.Errorf("static services in %s: %w", f.options.Path, err)
	}
	return group(instances, f.options.Prefix), nil
}

// parseInstances parses a JSON array of registrations. Namespace and ID may be missing.
// Each instance is allocated separately, so that one that is kept does not keep the
// others in memory.
func parseInstances(content []byte) ([]*Instance, error) {
	content = bytes.TrimSpace(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))) // some editors put a mark of UTF-8 first
	if len(content) == 0 || content[0] != '[' {
		return nil, errors.New("want a JSON array of service registrations, as `nomad service info -json` prints")
	}
	var regs []*nomad.Registration
	decoder := json.NewDecoder(bytes.NewReader(content))
	if err := decoder.Decode(&regs); err != nil {
		return nil, fmt.Errorf("%s: %w", position(content, decoder.InputOffset(), err), err)
	}
	if rest := bytes.TrimSpace(content[decoder.InputOffset():]); len(rest) > 0 {
		return nil, fmt.Errorf("%s: more follows behind the array", position(content, decoder.InputOffset(), nil))
	}
	instances := make([]*Instance, len(regs))
	seen := make(map[string]int, len(regs))
	for i, r := range regs {
		if r == nil || r.ServiceName == "" {
			return nil, fmt.Errorf("entry %d has no ServiceName", i+1)
		}
		r.Namespace = cmp.Or(r.Namespace, nomad.DefaultNamespace)
		r.ID = cmp.Or(r.ID, fmt.Sprintf("static-%s-%s-%d", r.ServiceName, r.Address, r.Port))
		id := r.Namespace + "/" + r.ID
		if first, ok := seen[id]; ok {
			return nil, fmt.Errorf("entries %d and %d have the same ID %q", first, i+1, r.ID)
		}
		seen[id] = i + 1
		// An index that was printed once is no position in a lasting order, and what an
		// operator writes into a file is older than all that registers itself.
		r.CreateIndex, r.ModifyIndex = 0, 0
		instances[i] = fromNomad(r)
	}
	return instances, nil
}

// position returns the line and column of an error.
func position(content []byte, offset int64, err error) string {
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &wrong):
		offset = wrong.Offset
	}
	before := content[:min(int(offset), len(content))]
	return fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
}
