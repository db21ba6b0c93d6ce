package main

import (
	"context"
	"errors"
	"fmt"
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
		var missing *nomad.AccessError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &missing):
			s.logger.Warn("nomad does not let serai do all that it should; the policy that is missing follows")
			fmt.Fprintln(s.env.stderr, missing.Error())
		case errors.Is(err, nomad.ErrUnreachable), errors.Is(err, nomad.ErrUnavailable):
			select { // discovery tells that; rights are asked for later
			case <-ctx.Done():
				return nil
			case <-time.After(30 * time.Second):
				continue
			}
		case err != nil:
			s.logger.Warn("what nomad lets serai do is not known", "error", err)
		}
		break
	}
	s.checkKillTimeout(ctx)
	return nil
}

// checkKillTimeout warns when Nomad would kill us before we have drained.
func (s *system) checkKillTimeout(ctx context.Context) {
	job := s.env.getenv("NOMAD_JOB_ID")
	if job == "" {
		return
	}
	needed := s.DrainDelay.value() + s.DrainTimeout.value()
	given, err := s.client.KillTimeout(ctx, nomad.Task{
		Namespace: s.env.getenv("NOMAD_NAMESPACE"), Job: job,
		Group: s.env.getenv("NOMAD_GROUP_NAME"), Name: s.env.getenv("NOMAD_TASK_NAME"),
	})
	switch {
	case err != nil:
		s.logger.Debug("the job's kill_timeout is not known", "error", err)
	case given < needed:
		s.logger.Warn("nomad kills serai before it has drained: requests in flight will be cut",
			"kill_timeout", given, "needed", needed,
			"do", "raise kill_timeout in serai's task (and max_kill_timeout of the agents, 30s by default), or lower --drain-delay and --drain-timeout")
	}
}
