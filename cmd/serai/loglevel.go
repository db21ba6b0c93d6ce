package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// logLevelCommand is `serai log-level`.
type logLevelCommand struct {
	Level string `arg:"" optional:"" help:"DEBUG, INFO, WARN or ERROR; without it the level is printed. Without --admin-token-file or --admin-client-ca-file at serai serve, it can be set only from the same machine."`
	reaching
}

// Run prints the level of a running serai's log, or sets it until that serai ends.
func (c logLevelCommand) Run(ctx context.Context, env *environment) error {
	method := http.MethodGet
	if c.Level != "" {
		method = http.MethodPut
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	res, err := c.send(ctx, env, method, "/log-level", strings.NewReader(c.Level))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusBadRequest && c.Level != "":
		answer, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return &usageError{&argumentError{errors.New(shown(strings.TrimSpace(string(answer))))}}
	case res.StatusCode != http.StatusOK:
		return c.refused(res)
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return c.fails(err)
	}
	var level slog.Level
	if err := level.UnmarshalText(bytes.TrimSpace(answer)); err != nil {
		return fmt.Errorf("serai at %s sent something that is not a level: %.40q; --admin names its admin address", c.Admin, answer)
	}
	_, err = fmt.Fprintln(env.stdout, level)
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
