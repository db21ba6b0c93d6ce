package filestamp

import (
	"fmt"
	"io/fs"
	"syscall"
)

// Inode returns a stamp that changes when a file is replaced, or changed without a change
// of its time and size.
func Inode(info fs.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d/%d/%d.%d ", s.Dev, s.Ino, s.Ctim.Sec, s.Ctim.Nsec)
}
