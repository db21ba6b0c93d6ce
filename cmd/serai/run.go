package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"serai/discovery"
	"serai/internal/history"
	"serai/tls"
)

// run serves until ctx ends, drains, and ends everything.
func (s *system) run(ctx context.Context) error {
	defer s.close()
	parts, end := context.WithCancelCause(context.Background())
	running := newParts()
	start := func(name string, part func(context.Context) error) {
		running.start(name, func() {
			if err := part(parts); err != nil && parts.Err() == nil {
				end(fmt.Errorf("%s: %w", name, err))
			}
		})
	}
	defer func() {
		end(nil)
		if left := running.wait(partsEnd); left != "" {
			s.logger.Warn("serai exits although parts of it have not stopped: a file or directory hangs", "parts", left)
		}
	}()

	start("endpoints", s.registry.Run)
	for _, c := range s.caches {
		start("cache", c.Run)
	}
	if s.claims != nil {
		start("claims", s.claims.Run)
	}
	if s.accessLog != nil {
		start("access log", s.accessLog.Run)
	}
	if s.traces != nil {
		start("traces", s.traces.Run)
	}
	start("hangup", s.onHangup)
	if s.logFile != nil {
		start("access log's file", func(ctx context.Context) error { return s.logFile.Run(ctx, s.logger) })
	}
	start("log level", s.onToggle)
	if s.config != nil {
		start("config file", s.config.Run)
		start("keys of tokens", func(ctx context.Context) error { return s.file.named.tokens.Followed.Run(ctx, s.logger) })
		if s.client != nil {
			start("secrets", func(ctx context.Context) error { return s.followSecrets(ctx, s.file.named.secrets) })
		}
	}
	if s.CertDir != "" {
		files := &tls.Files{Dir: s.CertDir, Read: s.awaited(), Logger: s.logger}
		start("certificate files", func(ctx context.Context) error { return files.Run(ctx, s.certs) })
	}
	if s.obtain != nil {
		start("certificates", s.obtain.Run)
	}
	snapshots := make(chan *discovery.Snapshot)
	start("discovery", func(ctx context.Context) error { return s.source.Run(ctx, snapshots) })
	start("routes", func(ctx context.Context) error { return s.follow(ctx, snapshots) })
	if s.adminPort != nil {
		start("admin", s.serveAdmin)
		start("files of the admin", s.followAdmin)
		if s.adminAccess.secrets != nil {
			start("token of the admin", func(ctx context.Context) error { return s.followSecrets(ctx, s.adminAccess.secrets) })
		}
		start("traffic of the admin", s.admin.Run)
	}
	if s.metricsPort != nil {
		start("metrics", s.serveMetrics)
	}
	start("checks", s.checkNomad)
	start("checks of consul", s.checkConsul)
	if s.mesh != nil {
		start("consul's mesh", s.mesh.Run)
	}

	// Until the services and the certificates are known, connections wait in
	// the kernel: a restart answers nothing wrong.
	s.await(ctx, parts)
	for _, l := range s.traffic {
		start(l.name, func(ctx context.Context) error { return l.server.Serve(ctx, l.port) })
		s.logger.Info("listening", "listener", l.name, "address", l.port.Addr().String())
	}
	select {
	case <-ctx.Done():
	case <-parts.Done():
		return context.Cause(parts)
	}
	cut := s.drain(parts)
	running.start("record of the stop", func() { s.writeLastStop(cut) }) // which may hang
	return nil
}

// awaited returns what is to be called, once or more, when the certificates have been
// read, which a start waits for.
func (s *system) awaited() func() {
	read := make(chan struct{})
	s.reads = append(s.reads, read)
	return sync.OnceFunc(func() { close(read) })
}

// startTimeout is how long a start waits for what it should know before it answers.
const startTimeout = 5 * time.Second

// await waits until the services, the certificates and the secrets are known, or long
// enough.
func (s *system) await(ctx, parts context.Context) {
	enough := time.NewTimer(startTimeout)
	defer enough.Stop()
	type thing struct {
		known   <-chan struct{}
		without string
	}
	things := []thing{{s.first, "not all services are known yet: answering 503 for unknown hosts until they are"}}
	for _, read := range s.reads {
		things = append(things, thing{read, "the certificates are not known yet: refusing names until they are"})
	}
	if s.config != nil && s.client != nil {
		things = append(things, thing{s.file.named.secrets.Asked(), "the users of some auths are not known yet: answering 503 until they are"})
	}
	for _, t := range things {
		select {
		case <-t.known:
		case <-ctx.Done():
			return
		case <-parts.Done():
			return
		case <-enough.C:
			s.logger.Warn(t.without)
			return
		}
	}
}

// drain lets load balancers notice, then lets requests end, and returns how many it cut off.
func (s *system) drain(parts context.Context) (cutOff int) {
	s.admin.Drain()
	history.Tell(s.logger, slog.LevelInfo, history.Draining, "stopping: not ready any more, still serving", "drain-delay", s.DrainDelay.value())
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-parts.Done():
		}
	}
	// By half of the time the balancer sends new connections elsewhere: so may
	// the requests of those that are open.
	pause(s.DrainDelay.value() / 2)
	for _, l := range s.traffic {
		l.server.Retire()
	}
	pause(s.DrainDelay.value() / 2)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var cut atomic.Int64
	// They are counted before they are cut off.
	defer time.AfterFunc(s.DrainTimeout.value(), func() {
		cut.Store(int64(s.proxy.Inflight()))
		cancel(context.DeadlineExceeded)
	}).Stop()
	// What still waits for an instance is answered in time, so that its client may ask elsewhere.
	defer time.AfterFunc(s.DrainTimeout.value()-min(s.DrainTimeout.value()/10, time.Second), s.registry.EndWaits).Stop()
	var servers sync.WaitGroup
	for _, l := range s.traffic {
		servers.Go(func() {
			if err := l.server.Shutdown(ctx); err != nil {
				history.Tell(s.logger, slog.LevelWarn, history.Drained, "requests were cut", "listener", l.name, "error", err)
			}
		})
	}
	servers.Wait()
	history.Tell(s.logger, slog.LevelInfo, history.Drained, "stopped")
	return int(cut.Load())
}
