package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"serai/internal/mayhang"
)

// followedFiles are files of one purpose, such as a certificate and its key, that are used
// again when they change.
type followedFiles struct {
	// what names them in errors and in the log: the flag.
	what  string
	paths []string
	// use takes their contents, in the order of paths. An error, which quotes none of them,
	// leaves what was used before.
	use func(contents [][]byte) error

	files   fileReader
	tried   []fileSum // what use has been given last
	refusal error     // why it did not take that; nil when it did
	seen    []fileSum // what the last look found
	problem string    // that was told last; empty for none
}

// mostFollowed bounds such a file, in bytes.
const mostFollowed = 1 << 20

// contents reads the files. Of a file that cannot be read the error is told, and the sum says
// that it is missing.
func (f *followedFiles) contents() (contents [][]byte, sums []fileSum, err error) {
	for _, path := range f.paths {
		content, wrong := f.files.whole(path, mostFollowed)
		if wrong != nil {
			err, sums = wrong, append(sums, fileSum{missing: true})
			continue
		}
		contents, sums = append(contents, content), append(sums, sumOf(content))
	}
	return contents, sums, err
}

// begin uses the files as they are now.
func (f *followedFiles) begin() error {
	contents, sums, err := f.contents()
	if err == nil {
		err = f.use(contents)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", f.what, err)
	}
	f.tried, f.seen = sums, sums
	return nil
}

// look uses the files again if they have changed. Its error is why what they say is not used.
// What is written where it stands may be half of it: it is used once two looks have found the
// same.
func (f *followedFiles) look() (changed bool, err error) {
	contents, sums, err := f.contents()
	if err != nil {
		return false, err
	}
	settled := slices.Equal(sums, f.seen)
	f.seen = sums
	if changed = settled && !slices.Equal(sums, f.tried); changed {
		f.tried, f.refusal = sums, f.use(contents)
	}
	return changed, f.refusal
}

// followFiles looks at all of them every two seconds until ctx ends.
func followFiles(ctx context.Context, all []*followedFiles, logger *slog.Logger) error {
	tick := time.NewTicker(configEvery)
	defer tick.Stop()
	type result struct {
		changed bool
		err     error
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for _, f := range all {
			r, ok := mayhang.Read(ctx, func() (r result) { r.changed, r.err = f.look(); return r }, func() {
				logger.Error("a read of a file hangs: it is a FIFO, or on a mount whose server does not answer; until it comes back, no change is seen", "setting", f.what, "path", f.files.reading())
			})
			if !ok {
				return ctx.Err()
			}
			f.tell(r.changed, r.err, logger)
		}
	}
}

// tell logs what a look has found, and each problem once.
func (f *followedFiles) tell(changed bool, err error, logger *slog.Logger) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	switch {
	case problem != "" && problem != f.problem:
		logger.Error("a file cannot be used: its last good content stays in use", "setting", "--"+f.what, "error", err)
	case problem == "" && (changed || f.problem != ""):
		logger.Info("a changed file is in use", "setting", "--"+f.what)
	}
	f.problem = problem
}
