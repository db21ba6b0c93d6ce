package main

import (
	"errors"
	"fmt"

	"serai/internal/history"
	"serai/nomad"
)

// adminFlags are about what the admin address serves, and to whom.
type adminFlags struct {
	Cert      string `name:"admin-cert-file" help:"PEM file of the certificate with which the admin listener speaks TLS; plain HTTP when empty. The files of this group are read again when they change: docs/security.md#the-admin-address." placeholder:"FILE" group:"Admin"`
	Key       string `name:"admin-key-file" help:"PEM file of the private key for --admin-cert-file." placeholder:"FILE" group:"Admin"`
	ClientCA  string `name:"admin-client-ca-file" help:"PEM file of CAs: clients of the admin listener need a certificate of one of them, except for /health and /ready; empty asks for none." placeholder:"FILE" group:"Admin"`
	TokenFile string `name:"admin-token-file" help:"File of tokens, one per line: clients of the admin listener need one of them, except for /health and /ready; with --admin-client-ca-file they need both. Empty asks for none." placeholder:"FILE" group:"Admin"`
	TokenPath string `name:"admin-token-variable" help:"Nomad variable in serai's namespace whose item admin_token has the tokens, instead of --admin-token-file." placeholder:"PATH" group:"Admin"`
	Pprof     bool   `name:"admin-pprof" help:"Let other machines take profiles (/debug/pprof/) from the admin listener, too." group:"Admin"`

	MaxEvents    int   `name:"max-events" default:"1000" help:"Events (routes that come and go, ejections, rejections, certificates and the like) kept for /api/v1/events. The namespace with the most loses its oldest first." group:"Limits"`
	MaxFollowers int   `default:"16" help:"Dashboard pages and commands that follow changes (server-sent events) at the same time, at most half of the admin's connections; 503 beyond." group:"Limits"`
	Memory       int64 `name:"admin-memory" default:"33554432" help:"Bytes of memory for responses of the admin listener that are not sent yet; at most a sixteenth of the memory. Beyond, a response that its client has not read from for a second is cut off, and new ones wait up to five seconds; then 503." group:"Limits"`
}

// validateAdmin reports all that is wrong with the flags.
func (c *serveCommand) validateAdmin() error {
	f := &c.AdminFlags
	var errs []error
	if f.MaxEvents < 1 || f.MaxEvents > history.MaxSize {
		errs = append(errs, fmt.Errorf("--max-events=%d is not between 1 and %d", f.MaxEvents, history.MaxSize))
	}
	if f.MaxFollowers < 1 {
		errs = append(errs, fmt.Errorf("--max-followers=%d is not at least 1", f.MaxFollowers))
	}
	if f.Memory < 1 {
		errs = append(errs, fmt.Errorf("--admin-memory=%d is not at least 1", f.Memory))
	}
	if (f.Cert == "") != (f.Key == "") {
		errs = append(errs, errors.New("--admin-cert-file and --admin-key-file must be set together"))
	}
	if f.ClientCA != "" && f.Cert == "" {
		errs = append(errs, errors.New("--admin-client-ca-file without --admin-cert-file: clients show certificates over TLS alone"))
	}
	if f.TokenFile != "" && f.TokenPath != "" {
		errs = append(errs, errors.New("--admin-token-file and --admin-token-variable are both set: set only one"))
	}
	if f.TokenPath != "" {
		if err := nomad.CheckVariablePath(f.TokenPath); err != nil {
			errs = append(errs, fmt.Errorf("--admin-token-variable=%s is not the path of a variable: %w", f.TokenPath, err))
		}
		if c.NoNomad {
			errs = append(errs, errors.New("--admin-token-variable needs Nomad: leave --no-nomad out, or set --admin-token-file"))
		}
	}
	if c.Admin == "" {
		for _, one := range []struct {
			name  string
			given bool
		}{
			{"admin-cert-file", f.Cert != ""}, {"admin-client-ca-file", f.ClientCA != ""}, {"admin-token-file", f.TokenFile != ""},
			{"admin-token-variable", f.TokenPath != ""}, {"admin-pprof", f.Pprof},
		} {
			if one.given {
				errs = append(errs, fmt.Errorf("--%s has no effect where --admin is empty", one.name))
			}
		}
	}
	return errors.Join(errs...)
}
