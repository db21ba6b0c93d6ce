// Package atomicfile replaces a file in one step.
package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

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
	file, err := os.CreateTemp(filepath.Dir(name), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if err := write(file); err != nil {
		file.Close()
		return err
	}
	if press {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
