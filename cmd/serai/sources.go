package main

import (
	"fmt"

	"serai/discovery"
	"serai/nomad"
)

// sourceFlags say where instances are registered.
type sourceFlags struct {
	Services   string   `help:"Static instances besides Nomad's: a JSON array of Nomad ServiceRegistration objects, re-read when it changes." placeholder:"FILE" group:"Discovery"`
	NoNomad    bool     `name:"no-nomad" help:"Static instances only." group:"Discovery"`
	Namespaces []string `default:"*" help:"Namespaces that are watched: names, globs, and !name for those that are not." placeholder:"NAME,..." group:"Discovery"`
}

// newSource makes what learns the services, of all places that the flags name.
func (s *system) newSource() error {
	namespaces, err := discovery.ParseNamespaces(s.Namespaces)
	if err != nil {
		return err
	}
	var sources []discovery.Source
	if !s.NoNomad {
		source, err := s.newNomadSource(namespaces)
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
	s.own.findAgent(s.client.Address())
	s.store = discovery.NewStore(s.Quotas.bounds(s.limit))
	watch := discovery.WatcherOptions{
		Client: s.client, Store: s.store, Namespaces: namespaces, Home: s.env.getenv("NOMAD_NAMESPACE"), Prefix: s.TagPrefix, Logger: s.logger,
	}
	if s.StateDir != "" {
		if s.cache, err = discovery.NewCache(s.StateDir, s.logger); err != nil {
			return nil, err
		}
		if watch.Initial, err = s.cache.Load(namespaces, s.TagPrefix); err != nil {
			s.logger.Warn("starting without the last known services", "error", err)
		}
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
	one := discovery.Merge(all...)
	if s.cache != nil {
		one = s.cache.Keep(one)
	}
	return one, nil
}
