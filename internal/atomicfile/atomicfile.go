// Package atomicfile replaces a file in one step.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Replace makes content that of a file which only its owner may read: a crash of
// the process leaves the old or the new one. Press also makes that hold for a
// crash of the machine, and waits for the disk.
func Replace(name string, content []byte, press bool) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(content); err != nil {
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
