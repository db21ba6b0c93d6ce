package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"serai/consul"
	"serai/discovery"
	"serai/nomad"
	"serai/tls"
)

// checkCommand is `serai check`: it takes the flags of serai serve, and does what a start does but
// for serving.
type checkCommand struct {
	Serve serveCommand `embed:""`
	Skip  []string     `enum:"ports,nomad,consul" help:"What is not checked: ports (if serai already runs on this machine without --reuse-port), nomad, consul." placeholder:"PART,..."`
	JSON  bool         `name:"json" help:"Print the findings as JSON. Also -json."`
}

// Help is what the help says below the flags.
func (checkCommand) Help() string {
	return "It takes the flags, variables and config file of serai serve, and says what a start with them would find wrong: one line for each finding, with whose it is and what to do. " +
		"It serves nothing, opens no port, and leaves no file. Run it as the user that serai has: what another user may read and write is not what serai may. " +
		"Exit code: 0 nothing is wrong, or warnings alone; 1 something would not work; 2 flags, variables or the config file are not valid."
}

// checkTime bounds what Nomad and Consul are asked, each.
const checkTime = 10 * time.Second

// expirySoon is how long before its expiry a certificate that nobody renews is told of.
const expirySoon = 7 * 24 * time.Hour

// Run checks, and fails if something is wrong.
func (c *checkCommand) Run(ctx context.Context, env *environment) error {
	f := &findings{from: c.Serve.from}
	usage := c.all(ctx, env, f)
	if err := f.print(env.stdout, c.JSON); err != nil {
		return err
	}
	switch n := f.count(isWrong); {
	case usage != nil:
		return &usageError{errors.New("check: the flags, the variables or the config file are not valid")}
	case n > 0:
		return fmt.Errorf("check: errors found: %d", n)
	}
	return nil
}

// skips reports whether a part is left out.
func (c *checkCommand) skips(part string) bool {
	return slices.Contains(c.Skip, part)
}

// all checks everything, and returns the error of usage that keeps the rest from being checked.
func (c *checkCommand) all(ctx context.Context, env *environment, f *findings) error {
	serve := &c.Serve
	if err := serve.validate(); err != nil {
		f.wrong("flags", err)
		return err
	}
	logger := slog.New(&findingHandler{findings: f})
	serve.warnUnknown(os.Environ(), logger)
	clear, unusable := c.places(f)
	defer clear()
	quiet := *env
	quiet.stderr = io.Discard // what is told there is a finding
	s, err := orStopped(ctx, "read its files", func() (*system, error) {
		return prepare(serve, &quiet, memoryLimit(serve.Memory, env.getenv), logger)
	})
	if err != nil {
		f.wrong("flags", err)
		return err
	}
	defer s.close()
	c.keepsState(f)
	if unusable == nil {
		f.ok("flags", "flags, variables and the files that they name are understood")
	}
	if serve.Config != "" {
		f.ok("config file", serve.Config+" is understood")
	}
	if err := c.ports(s, f); err != nil {
		return err
	}
	c.certificates(s, f)
	c.services(s, f)
	c.nomad(ctx, s, f)
	c.consul(ctx, s, f)
	return unusable
}

// ports says which addresses could not be listened on, and returns what makes no sense in them.
func (c *checkCommand) ports(s *system, f *findings) error {
	ports := &binder{shared: s.ReusePort}
	s.bind = func(address, flag string) error {
		if c.skips("ports") {
			return checkListen(address, flag)
		}
		return ports.try(address, flag)
	}
	err := s.listen(s.limits())
	var usage *usageError
	if err != nil {
		f.wrong("ports", err)
	}
	if errors.As(err, &usage) {
		return err
	}
	if err := s.makeAdmin(); err != nil { // which the parts that ask others count with
		f.wrong("admin", err)
		return err
	}
	if message, do := s.adminAccess.open(s.Admin); message != "" && s.Admin != "" {
		f.add(finding{Level: warned, Part: "admin", What: message, Do: do})
	}
	if c.skips("ports") || err != nil {
		return nil
	}
	var all []string
	for _, l := range s.bound {
		all = append(all, "--"+l)
	}
	f.ok("ports", "can be listened on: "+strings.Join(all, ", "))
	return nil
}

// certificates says which files of certificates are of no use, and which expire.
func (c *checkCommand) certificates(s *system, f *findings) {
	store := tls.NewStore()
	if s.CertDir != "" {
		if err := (&tls.Files{Dir: s.CertDir}).Load(store); err != nil {
			f.wrong("certificates", err)
		}
	}
	all := store.Current().Status()
	if spoken := s.adminAccess.spoken.Load(); spoken != nil {
		all = append(all, tls.Status{Names: spoken.leaf.DNSNames, NotBefore: spoken.leaf.NotBefore, NotAfter: spoken.leaf.NotAfter, Source: s.AdminFlags.Cert})
	}
	valid := 0
	for _, one := range all {
		about := finding{Part: "certificates", What: fmt.Sprintf("%s (%s)", one.Source, strings.Join(one.Names, ", ")), Do: "replace the file: serai reads it again"}
		switch left := time.Until(one.NotAfter); {
		case left <= 0:
			about.Level, about.What = wrong, about.What+" has expired at "+one.NotAfter.UTC().Format(time.RFC3339)
		case time.Until(one.NotBefore) > 0:
			about.Level, about.What = wrong, about.What+" is not valid before "+one.NotBefore.UTC().Format(time.RFC3339)
		case left < expirySoon:
			about.Level, about.What = warned, about.What+" expires at "+one.NotAfter.UTC().Format(time.RFC3339)
		default:
			valid++
			continue
		}
		f.add(about)
	}
	if valid > 0 {
		f.ok("certificates", fmt.Sprintf("valid certificates in --cert-dir: %d", valid))
	}
}

// services says what is wrong with the file of static instances.
func (c *checkCommand) services(s *system, f *findings) {
	if s.Services == "" {
		return
	}
	file, err := discovery.NewFile(discovery.FileOptions{Path: s.Services, Prefix: s.TagPrefix})
	n := 0
	if err == nil {
		n, err = file.Check()
	}
	if err != nil {
		f.wrong("services", err)
		return
	}
	f.ok("services", fmt.Sprintf("%s has services with our tags: %d", s.Services, n))
}

// nomad says what Nomad does not let serai do, and what its job gives it no time for.
func (c *checkCommand) nomad(ctx context.Context, s *system, f *findings) {
	if s.client == nil || c.skips("nomad") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	err := s.client.CheckAccess(ctx, s.access(s.shared))
	var missing *nomad.AccessError
	switch {
	case errors.As(err, &missing):
		f.missing("nomad", s.client.Address(), missing.For(s.access(true)))
	case err != nil:
		f.wrong("nomad", err)
		return
	default:
		f.ok("nomad", s.client.Address()+" lets serai do all that it should")
	}
	if given, needed, err := s.killTimeout(ctx); err == nil && given < needed {
		f.add(finding{Level: warned, Part: "nomad", What: fmt.Sprintf("nomad kills serai after %v, before it has drained in %v: requests in flight will be cut", given, needed), Do: raiseKillTimeout})
	}
}

// consul says what Consul does not let serai read.
func (c *checkCommand) consul(ctx context.Context, s *system, f *findings) {
	if s.consul == nil || c.skips("consul") {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	err := s.consul.CheckAccess(ctx)
	var missing *consul.AccessError
	switch {
	case errors.As(err, &missing):
		f.missing("consul", s.consul.Address(), missing)
	case err != nil:
		f.wrong("consul", err)
	default:
		f.ok("consul", s.consul.Address()+" lets serai read all services")
	}
}

// checkUsage prints what is wrong with a command line of serai check that could not even be read.
func checkUsage(err error, out io.Writer, asJSON bool) {
	f := &findings{}
	part := "flags"
	if strings.HasPrefix(err.Error(), "config file:") {
		part = "config file"
	}
	f.wrong(part, err)
	f.print(out, asJSON)
}

// print prints the findings.
func (f *findings) print(out io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"findings": f.all, "errors": f.count(isWrong), "warnings": f.count(func(l level) bool { return l == warned })})
	}
	for _, one := range f.all {
		text := one.What
		if one.Do != "" {
			text += "; " + one.Do
		}
		if _, err := fmt.Fprintf(out, "%-8s %-13s %s\n", one.Level, one.Part, shown(text)); err != nil {
			return err
		}
		if one.Policy != "" {
			fmt.Fprintf(out, "\n%s\n    %s\n\n", one.Policy, one.Command)
		}
	}
	return nil
}
