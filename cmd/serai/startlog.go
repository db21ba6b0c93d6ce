package main

import (
	"cmp"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

	"serai/consul"
	"serai/internal/history"
	"serai/nomad"
)

// tellStart logs which serai this is, before anything can go wrong. What Nomad
// says of itself and of our rights follows when it has been asked: see
// checkNomad.
func (c *serveCommand) tellStart(env *environment, logger *slog.Logger) {
	about := []any{"version", version(), "go", runtime.Version()}
	host, _ := os.Hostname()
	address := ""
	if !c.NoNomad {
		// One that is refused may carry a password.
		if client, err := nomad.NewClient(nomad.OptionsFromEnv(env.getenv)); err == nil {
			address = client.Address()
		}
	}
	inConsul := ""
	if c.Consul.given {
		if client, err := consul.NewClient(consul.OptionsFromEnv(env.getenv, c.Consul.address)); err == nil {
			inConsul = client.Address()
		}
	}
	for _, a := range []struct{ name, value string }{
		{"host", host}, {"node", c.Node}, {"datacenter", cmp.Or(c.Datacenter, env.getenv("NOMAD_DC"))}, {"region", env.getenv("NOMAD_REGION")},
		{"namespace", env.getenv("NOMAD_NAMESPACE")}, {"alloc", env.getenv("NOMAD_ALLOC_ID")}, {"nomad", address}, {"consul", inConsul}, {"services", c.Services},
	} {
		if a.value != "" {
			about = append(about, a.name, a.value)
		}
	}
	history.Tell(logger, slog.LevelInfo, history.Started, "serai starts", about...)
	c.warnUnknown(os.Environ(), logger)
}

// warnUnknown tells of variables that nobody reads.
func (c *serveCommand) warnUnknown(environ []string, logger *slog.Logger) {
	if unknown := unknownSettings(environ, slices.Concat(c.flags, c.asking)); len(unknown) > 0 {
		logger.Warn("environment variables look like settings of serai but are not: they have no effect", "variables", strings.Join(unknown, ", "))
	}
}
