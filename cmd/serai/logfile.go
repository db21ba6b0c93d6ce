package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// logFile is a file that is opened anew on SIGHUP, once whoever rotates logs
// has moved it away. Its methods may be called at the same time.
type logFile struct {
	path string
	mu   sync.Mutex
	file *os.File
}

func openLogFile(path string) (*logFile, error) {
	f := &logFile{path: path}
	return f, f.reopen()
}

// reopen opens the path anew. On an error the old file goes on.
func (f *logFile) reopen() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
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

// Close closes the file.
func (f *logFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// onHangup opens the access log anew on each SIGHUP until ctx ends, and has the config
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
			if err := s.logFile.reopen(); err != nil {
				s.logger.Warn("the access log cannot be opened anew: lines still go to the old file", "error", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
