package mayhang

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// File is a file that has been opened for reading.
type File struct {
	*os.File
	path  string
	fifo  os.FileInfo // nil for what is none
	begun bool        // somebody has written to it
}

// Open opens a file for reading. Of a FIFO it does not wait for who writes to it, as
// os.Open would, for ever: the first Read does, and ends with an error when path leads to
// another file, or to none. So a FIFO that stood there by mistake does not outlast its
// own removal.
func Open(path string) (*File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := &File{File: file, path: path}
	if info, err := file.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		f.fifo = info
	}
	return f, nil
}

// between is the pause between two looks at a FIFO, and at what path leads to.
const between = 100 * time.Millisecond

// Read reads like os.File, of a FIFO as said at Open.
func (f *File) Read(p []byte) (int, error) {
	if f.fifo == nil || len(p) == 0 {
		return f.File.Read(p)
	}
	for {
		_ = f.SetReadDeadline(time.Now().Add(between)) // where FIFOs have none, Read does not wait
		n, err := f.File.Read(p)
		switch {
		case n > 0:
			f.begun = true
			return n, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err == io.EOF && !f.begun, errors.Is(err, syscall.EAGAIN):
			time.Sleep(between)
		default:
			return 0, err
		}
		if now, err := os.Stat(f.path); err != nil || !os.SameFile(now, f.fifo) {
			return 0, fmt.Errorf("%s was a FIFO, which has been replaced while nobody wrote to it", f.path)
		}
	}
}
