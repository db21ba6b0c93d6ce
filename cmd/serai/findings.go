package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// level says how bad a finding is.
type level string

const (
	fine   level = "ok"
	warned level = "warning"
	wrong  level = "error"
)

func isWrong(l level) bool { return l == wrong }

// finding is one thing that serai check has found.
type finding struct {
	Level level `json:"level"`
	// Part is whose it is: flags, config file, ports, admin, certificates, services, nomad,
	// consul, or start for what a start would log.
	Part string `json:"part"`
	What string `json:"what"`
	// Do is what to do, where What does not say it.
	Do string `json:"do,omitempty"`
	// Policy is what is to be granted, and Command how.
	Policy  string `json:"policy,omitempty"`
	Command string `json:"command,omitempty"`
}

// findings are all of them. Its methods may be called concurrently.
type findings struct {
	from origins // of the flags that they name
	mu   sync.Mutex
	all  []finding
}

func (f *findings) add(one finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
}

func (f *findings) ok(part, what string) { f.add(finding{Level: fine, Part: part, What: what}) }

// wrong adds an error, one finding for each line of it: errors of settings are joined.
func (f *findings) wrong(part string, err error) {
	for line := range strings.Lines(strings.TrimPrefix(err.Error(), "config file: ")) {
		if line = strings.TrimSpace(line); line != "" {
			f.add(finding{Level: wrong, Part: part, What: f.from.words(line)})
		}
	}
}

// missing adds a right that is missing.
func (f *findings) missing(part, address string, m missingRight) {
	f.add(finding{Level: wrong, Part: part, What: fmt.Sprintf("%s does not let serai do all that it should: missing %s", address, m.Missing()),
		Do: "attach the policy that follows", Policy: m.Policy(), Command: m.Command()})
}

func (f *findings) count(is func(level) bool) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.all {
		if is(one.Level) {
			n++
		}
	}
	return n
}

// findingHandler makes findings of the warnings and errors that a start would log.
type findingHandler struct {
	*findings
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *findingHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements slog.Handler.
func (h *findingHandler) Handle(_ context.Context, r slog.Record) error {
	one := finding{Level: warned, Part: "start", What: r.Message}
	add := func(a slog.Attr) bool {
		if a.Key == "do" {
			one.Do = a.Value.String()
		} else if a.Key != "event" {
			one.What += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	if r.Level >= slog.LevelError {
		one.Level = wrong
	}
	h.add(one)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *findingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &findingHandler{h.findings, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

// WithGroup implements slog.Handler: nothing of serai's log has groups.
func (h *findingHandler) WithGroup(string) slog.Handler { return h }
