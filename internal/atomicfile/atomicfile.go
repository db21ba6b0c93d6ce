// Package atomicfile replaces a file in one step, in directories to which only their
// owner may write.
package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// temporary is the prefix of files that are being written.
const temporary = ".new-"

// Replace replaces the content of a file that only its owner may read: after a crash of
// the process the file has the old or the new content. With press that also holds for a
// crash of the machine, and Replace waits for the disk.
func Replace(name string, content []byte, press bool) error {
	return Write(name, press, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Write is Replace for content that need not be in memory at once. The old file stays
// if write fails. The error names the file, and not the one that was written in its place,
// which has another name each time: what is logged once for each new problem stays quiet.
func Write(name string, press bool, write func(io.Writer) error) error {
	err := replace(name, press, write)
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path) && strings.HasPrefix(filepath.Base(path.Path), temporary):
		return &fs.PathError{Op: path.Op, Path: name, Err: path.Err}
	case errors.As(err, &link):
		return &fs.PathError{Op: link.Op, Path: name, Err: link.Err}
	}
	return err
}

func replace(name string, press bool, write func(io.Writer) error) error {
	file, err := create(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer file.Close() // which releases the lock
	defer os.Remove(file.Name())
	if err := write(file); err != nil {
		return err
	}
	if press {
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return os.Rename(file.Name(), name)
}

// create makes a file that only its owner may read, and locks it: the lock, which ends
// with the process, shows to a cleanup that the file is still being written.
func create(dir string) (*os.File, error) {
	for {
		file, err := os.CreateTemp(dir, temporary+"*") // 0600
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		info, gone := os.Lstat(file.Name())
		if err == nil && gone == nil && info.Mode().IsRegular() {
			return file, nil
		}
		// A cleanup was faster than the lock.
		file.Close()
		os.Remove(file.Name())
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
	}
}
