package main

import (
	"fmt"

	"serai/discovery"
	"serai/nomad"
)

// sourceFlags say where instances are registered.
type sourceFlags struct {
	Services   string   `help:"File of static services, besides those of Nomad: a JSON array of Nomad ServiceRegistration objects, read again when it changes." placeholder:"FILE" group:"Discovery"`
	NoNomad    bool     `name:"no-nomad" help:"Do not use Nomad: only --services and --consul." group:"Discovery"`
	Namespaces []string `default:"*" help:"Nomad namespaces whose services are routed: names, globs, and !name to leave one out." placeholder:"NAME,..." group:"Discovery"`

	Consul           consulFlag `help:"Route services in Consul, too: the address of a Consul agent; without a value, what CONSUL_HTTP_ADDR says, or 127.0.0.1:8500. Token, TLS and the rest are read from Consul's own variables: docs/consul.md." placeholder:"ADDR" group:"Discovery"`
	ConsulAddress    string     `help:"Name of the tagged address at which instances in Consul are reached, such as wan; where one has none of that name, and when empty, the service's own address, or else its node's." placeholder:"NAME" group:"Discovery"`
	ConsulDatacenter string     `help:"Consul datacenter whose services are read; the agent's own when empty." placeholder:"NAME" group:"Discovery"`
	ConsulNode       string     `help:"Name that the node of this serai has in Consul, for prefer=node and for instances at its loopback: $${attr.unique.consul.name} in a job." placeholder:"NAME" group:"Discovery"`
	ConsulWarning    bool       `help:"Let instances with a warning in Consul take requests, with the weight that Consul gives them for it." group:"Discovery"`
	ConsulService    string     `default:"serai" help:"Name of serai in Consul's mesh, for which the agent issues its certificate (the token needs service:write of it), and which intentions allow or deny: docs/consul.md#connect." placeholder:"NAME" group:"Discovery"`
	ConsulWatches    int        `default:"128" help:"Services in Consul that have a blocking query of their own; each needs one of the 200 connections that an agent allows a client (limits.http_max_conns_per_client). Services beyond are read again whenever anything in the catalog changes." group:"Discovery"`
}

// newSource makes what learns the services, of all places that the flags name.
func (s *system) newSource() error {
	namespaces, err := discovery.ParseNamespaces(s.Namespaces)
	if err != nil {
		return err
	}
	var sources []discovery.Source
	if !s.NoNomad || s.Consul.given {
		s.store = discovery.NewStore(s.Quotas.bounds(s.limit))
	}
	if !s.NoNomad {
		source, err := s.newNomadSource(namespaces)
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	if s.Consul.given {
		source, err := s.newConsulSource()
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	if s.Services != "" {
		file, err := discovery.NewFile(discovery.FileOptions{Path: s.Services, Prefix: s.TagPrefix, Logger: s.logger})
		if err != nil {
			return err
		}
		sources = append(sources, file)
	}
	s.source = discovery.Merge(sources...)
	return nil
}

func (s *system) newNomadSource(namespaces *discovery.Namespaces) (discovery.Source, error) {
	o := nomad.OptionsFromEnv(s.env.getenv)
	o.Logger = s.logger
	if s.limit > 0 { // a line is decoded in about three times its size
		o.Limits.Line = int(min(16<<20, s.limit/16))
		o.Limits.Answer = min(64<<20, s.limit/8)
	}
	o.OnRequest = func(kind string, err error) { s.admin.NomadRequest(kind, err) }
	var err error
	if s.client, err = nomad.NewClient(o); err != nil {
		return nil, fmt.Errorf("nomad client: %w", err)
	}
	s.own.agent = agentAt(s.client.Address())
	watch := discovery.WatcherOptions{
		Client: s.client, Store: s.store, Namespaces: namespaces, Home: s.env.getenv("NOMAD_NAMESPACE"), Prefix: s.TagPrefix, Logger: s.logger,
	}
	var cache *discovery.Cache
	if s.StateDir != "" {
		if cache, err = discovery.NewCache(s.StateDir, s.logger); err != nil {
			return nil, err
		}
		watch.Initial = s.lastKnown(cache, namespaces)
	}
	if err := s.newClaims(namespaces); err != nil {
		return nil, err
	}
	watchers, err := discovery.NewWatchers(watch)
	if err != nil {
		return nil, err
	}
	var all []discovery.Source
	for _, w := range watchers {
		all = append(all, w)
	}
	return kept(cache, discovery.Merge(all...)), nil
}

// lastKnown reads what a cache has from an earlier run, nil for nothing, and has it written
// from now on.
func (s *system) lastKnown(cache *discovery.Cache, namespaces *discovery.Namespaces) *discovery.Snapshot {
	s.caches = append(s.caches, cache)
	initial, err := cache.Load(namespaces, s.TagPrefix)
	if err != nil {
		s.logger.Warn("the last known services cannot be read from the state directory: starting without them", "error", err)
	}
	return initial
}

// kept is a source whose snapshots a cache keeps, if there is one.
func kept(cache *discovery.Cache, source discovery.Source) discovery.Source {
	if cache == nil {
		return source
	}
	return cache.Keep(source)
}
