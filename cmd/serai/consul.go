package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"serai/consul"
	"serai/discovery"
	"serai/mesh"
)

// consulFlag is a flag that may have an address for a value, and need not.
type consulFlag struct {
	given   bool
	address string // empty for what Consul's own variables say
}

// IsBool makes --consul alone valid.
func (*consulFlag) IsBool() bool { return true }

// Decode reads the value, which is true where there is none.
func (f *consulFlag) Decode(ctx *kong.DecodeContext) error {
	value := "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		token, err := ctx.Scan.PopValue("address")
		if err != nil {
			return err
		}
		value = fmt.Sprint(token.Value)
	}
	switch value {
	case "true":
		*f = consulFlag{given: true}
	case "", "false":
		*f = consulFlag{}
	default:
		*f = consulFlag{true, value}
	}
	return nil
}

// makeConsul makes the client of Consul's agent, and serai's place in Consul's mesh.
func (s *system) makeConsul() error {
	if !s.Consul.given {
		return nil
	}
	o := consul.OptionsFromEnv(s.env.getenv, s.Consul.address)
	o.Datacenter, o.Logger = s.ConsulDatacenter, s.logger
	o.Limits.Connections = s.ConsulWatches
	if s.limit > 0 {
		o.Limits.Answer = min(64<<20, s.limit/8)
	}
	o.OnRequest = func(kind string, err error) { s.admin.ConsulRequest(kind, err) }
	var err error
	if s.consul, err = consul.NewClient(o); err != nil {
		return fmt.Errorf("consul client: %w", err)
	}
	s.own.consulAgent = agentAt(s.consul.Address())
	s.mesh, err = mesh.New(mesh.Options{Client: s.consul, Service: s.ConsulService, Logger: s.logger})
	return err
}

// newConsulSource makes what learns the services in Consul.
func (s *system) newConsulSource() (_ discovery.Source, err error) {
	follow := discovery.ConsulOptions{
		Client: s.consul, Prefix: s.TagPrefix, Address: s.ConsulAddress, Warning: s.ConsulWarning, Watches: s.ConsulWatches,
		Store: s.store, Logger: s.logger,
	}
	var cache *discovery.Cache
	if s.StateDir != "" {
		if cache, err = discovery.NewConsulCache(s.StateDir, s.logger); err != nil {
			return nil, err
		}
		follow.Initial = s.lastKnown(cache, nil)
	}
	source, err := discovery.NewConsul(follow)
	if err != nil {
		return nil, err
	}
	return kept(cache, source), nil
}

// checkConsul tells at the start what Consul will not let us read.
func (s *system) checkConsul(ctx context.Context) error {
	if s.consul == nil {
		return nil
	}
	for {
		err := s.consul.CheckAccess(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var missing *consul.AccessError
		switch {
		case err == nil:
			s.logger.Info("consul lets serai read all services", "consul", s.consul.Address())
			s.tellUnread("consul", s.consul.TokenUnread())
		case errors.As(err, &missing):
			s.tellPolicy("consul does not let serai read all services", missing, "consul", s.consul.Address())
		case errors.Is(err, consul.ErrUnreachable), errors.Is(err, consul.ErrUnavailable):
			select { // discovery tells that; rights are asked for later
			case <-ctx.Done():
				return nil
			case <-time.After(30 * time.Second):
				continue
			}
		default:
			s.logger.Warn("cannot check what consul lets serai read", "consul", s.consul.Address(), "error", err)
		}
		return nil
	}
}
