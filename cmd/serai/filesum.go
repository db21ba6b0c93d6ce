package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"serai/internal/mayhang"
)

// fileSum identifies what a file contained, or that it could not be read. The content
// is compared, not the time of a change: templates are rendered by a rename, volumes are
// swapped by a link, and both may bring an older time along.
type fileSum struct {
	content [sha256.Size]byte
	missing bool
}

func sumOf(content []byte) fileSum { return fileSum{content: sha256.Sum256(content)} }

// maxSecret bounds the files that a config file refers to, in bytes, where no flag does.
const maxSecret = 64 << 20

// fileReader reads files, one after the other. A read may hang, so it can be asked which one
// it is at.
type fileReader struct {
	at           atomic.Pointer[string]
	config, most int64 // bytes of the config file, and of those that it refers to; 0 for the defaults
}

// reading is the file that is being read, empty for none.
func (f *fileReader) reading() string {
	if at := f.at.Load(); at != nil {
		return *at
	}
	return ""
}

// whole reads a file of at most that many bytes.
func (f *fileReader) whole(path string, most int64) ([]byte, error) {
	f.at.Store(&path)
	defer f.at.Store(nil)
	file, err := mayhang.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return content, err
}

// sum is the sum of a file as it is now.
func (f *fileReader) sum(path string) fileSum {
	content, err := f.whole(path, max(f.config, cmp.Or(f.most, maxSecret)))
	if err != nil {
		return fileSum{missing: true}
	}
	return sumOf(content)
}

// fresh is how long after a change the sum of a file is not believed to be that of what
// was read of it a moment before.
const fresh = 2 * time.Second

// sums returns the sums of files that have just been read by somebody else. A file that has
// changed just now gets a sum that no content has, so that it is read again.
func (f *fileReader) sums(paths []string) map[string]fileSum {
	sums := make(map[string]fileSum, len(paths))
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && time.Since(info.ModTime()).Abs() < fresh {
			sums[path] = fileSum{}
			continue
		}
		sums[path] = f.sum(path)
	}
	return sums
}

// unchanged reports whether all files are as they were.
func (f *fileReader) unchanged(sums map[string]fileSum) bool {
	for path, was := range sums {
		if f.sum(path) != was {
			return false
		}
	}
	return true
}

// settled reports whether none of the files has been written within the last moment.
func settled(sums map[string]fileSum, now time.Time) bool {
	for path := range sums {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if age := now.Sub(info.ModTime()); age >= 0 && age < quiet {
			return false
		}
	}
	return true
}
