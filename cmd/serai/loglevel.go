package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// logLevelCommand is `serai log-level`.
type logLevelCommand struct {
	Level string `arg:"" optional:"" help:"DEBUG, INFO, WARN or ERROR; without it the level is printed."`
	Admin string `default:"127.0.0.1:8081" help:"Admin address of the serai, on this machine." placeholder:"ADDR"`
}

// Run prints the level of a running serai's log, or sets it until that serai ends.
func (c logLevelCommand) Run(ctx context.Context, env *environment) error {
	fail := func(err error) error {
		return fmt.Errorf("the level of the log of serai at %s: %w; name its --admin address", c.Admin, err)
	}
	address := c.Admin
	if host, port, err := net.SplitHostPort(address); err == nil && host == "" {
		address = net.JoinHostPort("127.0.0.1", port)
	}
	method := http.MethodGet
	if c.Level != "" {
		method = http.MethodPut
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+"/log-level", strings.NewReader(c.Level))
	if err != nil {
		return fail(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch {
	case err != nil:
		return fail(err)
	case res.StatusCode == http.StatusBadRequest:
		return &usageError{errors.New(strings.TrimSpace(string(answer)))}
	case res.StatusCode != http.StatusOK:
		return fail(fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(answer))))
	}
	_, err = env.stdout.Write(answer)
	return err
}

// onToggle makes the log tell everything at a SIGUSR1, and what it told at the start at the
// next one.
func (s *system) onToggle(ctx context.Context) error {
	toggle := make(chan os.Signal, 1)
	signal.Notify(toggle, syscall.SIGUSR1)
	defer signal.Stop(toggle)
	for {
		select {
		case <-toggle:
			was, level := s.level.Level(), slog.LevelDebug
			if was == level {
				level = slog.Level(s.LogLevel)
			}
			s.level.Set(level)
			s.logger.Log(ctx, max(was, level, slog.LevelInfo), "the level of the log was changed", "level", level.String(), "was", was.String())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
