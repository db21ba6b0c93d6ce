package atomicfile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Directory creates a directory that only its owner may enter, if it is missing, and
// removes what killed processes have left in it. It refuses one to which others can
// write, because they could replace files that serai trusts.
func Directory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := private(dir, info); err != nil {
		return err
	}
	clean(dir)
	return nil
}

// private reports whether others can write to a directory.
func private(dir string, info fs.FileInfo) error {
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s can be written by others (mode %#o): chmod go-w it, or name a directory below it that does not exist", dir, mode)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if known && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who can write to it, and not to user %d: chown it", dir, owner.Uid, os.Geteuid())
	}
	return nil
}

// clean removes files that no process writes any more, below a directory. What cannot
// be removed stays and does no harm.
func clean(dir string) {
	filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && strings.HasPrefix(e.Name(), temporary) {
			removeUnused(name)
		}
		return nil
	})
}

func removeUnused(name string) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		os.Remove(name)
	}
}
