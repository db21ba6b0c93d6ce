// Package atomicfile replaces a file in one step, in directories that only their
// owner may write to.
package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// temporary is what the names of files that are being written begin with.
const temporary = ".new-"

// Replace makes content that of a file which only its owner may read: a crash of
// the process leaves the old or the new one. Press also makes that hold for a
// crash of the machine, and waits for the disk.
func Replace(name string, content []byte, press bool) error {
	return Write(name, press, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

// Write is Replace for content that need not be in memory at once. The old file
// stays where write fails.
func Write(name string, press bool, write func(io.Writer) error) error {
	file, err := create(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer file.Close() // which ends the lock
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

// create makes a file that only its owner may read, and locks it: who cleans up
// tells by the lock, which ends with the process, whether it is being written.
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
		// Who cleans up was faster than the lock.
		file.Close()
		os.Remove(file.Name())
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
	}
}
