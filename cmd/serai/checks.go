package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"serai/nomad"
)

// checkNomad tells at the start what Nomad will not let us do, and what its
// job will not give us time for. It changes nothing.
func (s *system) checkNomad(ctx context.Context) error {
	if s.client == nil {
		return nil
	}
	// Who only records contested claims is not asked about Variables: that
	// would cost Nomad's servers two writes for each start.
	access := s.access(s.shared)
	for {
		err := s.client.CheckAccess(ctx, access)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, nomad.ErrUnreachable) || errors.Is(err, nomad.ErrUnavailable) {
			select { // discovery tells that; rights are asked for later
			case <-ctx.Done():
				return nil
			case <-time.After(30 * time.Second):
				continue
			}
		}
		s.tellAccess(ctx, access, err)
		if err == nil {
			s.tellUnread("nomad", s.client.TokenUnread())
		}
		break
	}
	s.checkKillTimeout(ctx)
	return nil
}

// tellAccess logs what Nomad lets us do, its version, and the policy that is
// missing.
func (s *system) tellAccess(ctx context.Context, access nomad.Access, err error) {
	rights := fmt.Sprintf("services and event stream of namespaces %s", strings.Join(access.Namespaces, ", "))
	if access.Variables != "" {
		rights += fmt.Sprintf("; variables under %s in namespace %s", access.Variables, cmp.Or(access.VariablesNamespace, nomad.DefaultNamespace))
	}
	if len(access.Read) > 0 {
		rights += fmt.Sprintf("; to read the variables %s", strings.Join(access.Read, ", "))
	}
	about := []any{"nomad", s.client.Address(), "nomad_version", "unknown: needs agent { policy = \"read\" }"}
	if agent, err := s.client.Agent(ctx); err == nil {
		about = []any{"nomad", s.client.Address(), "nomad_version", agent.Version, "region", agent.Region}
	}
	var missing *nomad.AccessError
	switch {
	case err == nil:
		s.logger.Info("nomad lets serai do all that it should", append(about, "rights", rights)...)
	case !errors.As(err, &missing):
		s.logger.Warn("cannot check what nomad lets serai do", append(about, "wanted", rights, "error", err)...)
	default:
		s.tellPolicy("nomad does not let serai do all that it should", missing.For(s.access(true)), append(about, "wanted", rights)...)
	}
}

// tellUnread logs that a token file could not be read, where nothing is refused for it: the
// cluster has no ACLs, or lets anybody in, and might not always.
func (s *system) tellUnread(who string, err error) {
	if err != nil {
		s.logger.Warn("the token file for "+who+" cannot be read, and serai asks without it; so far "+who+" refuses nothing",
			"error", err, "do", "make it readable by the user that serai runs as, or do not name it")
	}
}

// missingRight is an error that says what is missing, and how it is given.
type missingRight interface {
	error
	Missing() string
	Policy() string
	Command() string
}

// tellPolicy logs a right that is missing, and the policy that gives it: within
// the line, or behind it where people copy it, which one line of text would not
// allow.
func (s *system) tellPolicy(message string, missing missingRight, about ...any) {
	about = append(about, "missing", missing.Missing())
	if s.LogFormat == "json" {
		s.logger.Warn(message+": attach the policy", append(about, "policy", missing.Policy(), "command", missing.Command())...)
		return
	}
	s.logger.Warn(message+"; the policy that is missing follows", about...)
	fmt.Fprintln(s.env.stderr, missing.Error())
}

// checkKillTimeout warns when Nomad would kill us before we have drained.
func (s *system) checkKillTimeout(ctx context.Context) {
	given, needed, err := s.killTimeout(ctx)
	switch {
	case errors.Is(err, errNoJob):
	case err != nil:
		s.logger.Debug("the job's kill_timeout is not known", "error", err)
	case given < needed:
		s.logger.Warn("nomad kills serai before it has drained: requests in flight will be cut",
			"kill_timeout", given, "needed", needed,
			"do", raiseKillTimeout)
	}
}

// raiseKillTimeout is what to do about it.
const raiseKillTimeout = "raise kill_timeout in serai's task (and max_kill_timeout of the agents, 30s by default), or lower --drain-delay and --drain-timeout"

// errNoJob says that this is no task of Nomad's.
var errNoJob = errors.New("not a task of nomad's")

// killTimeout is how much time Nomad gives us to drain, and how much we need.
func (s *system) killTimeout(ctx context.Context) (given, needed time.Duration, err error) {
	job := s.env.getenv("NOMAD_JOB_ID")
	if job == "" {
		return 0, 0, errNoJob
	}
	given, err = s.client.KillTimeout(ctx, nomad.Task{
		Namespace: s.env.getenv("NOMAD_NAMESPACE"), Job: job,
		Group: s.env.getenv("NOMAD_GROUP_NAME"), Name: s.env.getenv("NOMAD_TASK_NAME"),
	})
	return given, s.DrainDelay.value() + s.DrainTimeout.value(), err
}
