package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"serai/internal/atomicfile"
)

// places finds what is wrong with the places that a start writes to, and has the check leave
// nothing there: what it makes would be its own user's, and serai may run as another.
// Clear takes away what was made since. The error is one of usage.
func (c *checkCommand) places(f *findings) (clear func(), err error) {
	var absent []string
	if dir := c.Serve.StateDir; dir != "" {
		c.othersPlace(f, "--state-dir", dir)
		for _, name := range []string{"", certificatesDir, "autocert"} {
			absent = append(absent, absentParts(filepath.Join(dir, name))...)
		}
	}
	switch log := c.Serve.AccessLog; log {
	case "", "off", "stdout":
	default:
		if !c.othersPlace(f, "--access-log", log) {
			// An empty file could be that of a serai that starts now: none is made, and none
			// is removed.
			if err = mayMake(log); err != nil {
				err = fmt.Errorf("the access log of --access-log: %w", err)
				f.wrong("flags", err)
			}
			c.Serve.AccessLog = os.DevNull
		}
	}
	// What is below another is longer. Directories that are not empty stay.
	slices.SortFunc(absent, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return func() {
		for _, dir := range slices.Compact(absent) {
			os.Remove(dir)
		}
	}, err
}

// keepsState warns where serai could keep nothing in --state-dir, and starts all the same. Of a
// directory of another user it says nothing: othersPlace has, and this user's view is not serai's.
func (c *checkCommand) keepsState(f *findings) {
	dir := c.Serve.StateDir
	if dir == "" {
		return
	}
	if info, err := os.Stat(dir); err == nil && ownerOf(info) != os.Geteuid() {
		return
	}
	err := atomicfile.Directory(dir)
	if err == nil {
		err = mayMake(lastStopFile(dir))
	}
	if err != nil {
		f.add(finding{Level: warned, Part: "start", What: fmt.Sprintf("nothing can be kept in --state-dir=%s: %v", dir, err), Do: "give --state-dir a directory that serai's user alone may write to"})
	}
}

// absentParts returns a path and the directories above it, as far as they do not exist.
func absentParts(path string) (all []string) {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return all
		}
		all = append(all, path)
	}
}

// mayMake says why a file could not be made.
func mayMake(path string) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".check-*")
	if err != nil {
		return &fs.PathError{Op: "open", Path: path, Err: errors.Unwrap(err)}
	}
	file.Close()
	return os.Remove(file.Name())
}

// ownerOf is the user whose a place is; this one where the system does not say.
func ownerOf(info os.FileInfo) int {
	if of, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(of.Uid)
	}
	return os.Geteuid()
}

// othersPlace reports whether a place exists, and warns where it is not this user's: what the
// check finds there may not be what serai does.
func (c *checkCommand) othersPlace(f *findings, flag, path string) (exists bool) {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	if owner := ownerOf(info); owner != os.Geteuid() {
		who := userName(owner)
		f.add(finding{Level: warned, Part: "start", What: fmt.Sprintf("%s=%s belongs to user %s, and this check runs as user %s, for whom its findings hold", flag, path, who, userName(os.Geteuid())),
			Do: "run it as the user that serai has, such as: runuser -u " + who + " -- serai check"})
	}
	return true
}

// userName is a user's name, or number where it has none here.
func userName(id int) string {
	u, err := user.LookupId(strconv.Itoa(id))
	if err != nil {
		return strconv.Itoa(id)
	}
	return u.Username
}
