package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// traefikTags are the ingress.host of Traefik, with retries.
var traefikTags = []string{
	"traefik.http.routers.web.rule=Host(`web.loadtest`)",
	"traefik.http.routers.web.middlewares=again", "traefik.http.middlewares.again.retry.attempts=3",
}

// startTraefik runs the traefik on PATH in serai's place. It watches Nomad,
// which is not its default.
func startTraefik(ctx context.Context, nomad, token string) (*ingress, error) {
	binary, err := exec.LookPath("traefik")
	if err != nil {
		return nil, fmt.Errorf("%w: no traefik on PATH", errSkipped)
	}
	i := &ingress{binary: binary}
	if i.dir, err = os.MkdirTemp("", "loadtest"); err != nil {
		return nil, err
	}
	if i.address, err = freeAddress(); err != nil {
		return i, err
	}
	cmd := exec.CommandContext(ctx, binary, "--entrypoints.web.address="+i.address, "--log.level=FATAL",
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--providers.nomad=true", "--providers.nomad.watch=true", "--providers.nomad.exposedbydefault=true",
		"--providers.nomad.endpoint.address="+nomad, "--providers.nomad.endpoint.token="+token)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return i, fmt.Errorf("start traefik: %w", err)
	}
	i.cmd = cmd
	return i, i.await(ctx, "web.loadtest", "/")
}
