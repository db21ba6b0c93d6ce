package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"serai/internal/mayhang"
)

// logFile is a file that is opened anew on SIGHUP, once whoever rotates logs
// has moved it away. Its methods may be called at the same time.
type logFile struct {
	path  string
	asked chan struct{} // to open it anew
	mu    sync.Mutex
	file  *os.File
}

func openLogFile(path string) (*logFile, error) {
	f := &logFile{path: path, asked: make(chan struct{}, 1)}
	return f, f.reopen()
}

// reopenWithin is how long a write to the old file may still take once the new one is open.
const reopenWithin = time.Second

// reopen opens the path anew. On an error the old file goes on. A write that hangs, since
// nobody reads the FIFO any more that the old file is, fails: the next one goes to the new
// file. Only one call at a time may change the file.
func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if old := f.file; old != nil {
		defer time.AfterFunc(reopenWithin, func() { old.Close() }).Stop()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file != nil {
		f.file.Close()
	}
	f.file = file
	return nil
}

// Write appends p to the file.
func (f *logFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Write(p)
}

// Close closes the file. While a write hangs, that is left to the end of the process.
func (f *logFile) Close() error {
	if !f.mu.TryLock() {
		return nil
	}
	defer f.mu.Unlock()
	return f.file.Close()
}

// Run opens the file anew whenever that is asked for, until ctx ends. What hangs then, such
// as the opening of a FIFO that nobody reads, is left behind.
func (f *logFile) Run(ctx context.Context, logger *slog.Logger) error {
	hangs := func() { logger.Warn("the access log's file cannot be reopened yet: it hangs", "file", f.path) }
	for {
		select {
		case <-f.asked:
			err, ok := mayhang.Read(ctx, f.reopen, hangs)
			if !ok {
				return ctx.Err()
			}
			if err != nil {
				logger.Warn("the access log cannot be reopened: lines still go to the old file", "error", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// onHangup has the access log opened anew on each SIGHUP until ctx ends, and the config
// file read again. The signal never ends the process.
func (s *system) onHangup(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-hangup:
			if s.config != nil {
				s.config.Ask()
			}
			if s.logFile == nil {
				continue
			}
			select {
			case s.logFile.asked <- struct{}{}:
			default: // it will be, after what hangs now
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
