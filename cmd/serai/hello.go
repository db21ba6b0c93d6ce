package main

import (
	"cmp"
	"context"
	"log/slog"
	"os"

	"serai/hello"
)

// helloCommand is `serai hello`.
type helloCommand struct {
	Addr string `default:":8080" help:"Address to listen on; in a job :$${NOMAD_PORT_http}." placeholder:"ADDR"`
	Name string `help:"Name that it answers with; the task's name when empty." placeholder:"NAME"`
}

// Run serves until ctx ends.
func (c *helloCommand) Run(ctx context.Context, env *environment) error {
	host, _ := os.Hostname()
	return hello.Run(ctx, hello.Options{
		Addr: c.Addr, Name: cmp.Or(c.Name, env.getenv("NOMAD_TASK_NAME"), "hello"),
		Alloc: env.getenv("NOMAD_ALLOC_ID"), Node: cmp.Or(env.getenv("NOMAD_NODE_NAME"), host),
		Logger: slog.New(slog.NewTextHandler(env.stderr, nil)),
	})
}
