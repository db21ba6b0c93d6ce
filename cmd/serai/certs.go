package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"serai/admin"
	"serai/nomad"
	"serai/tls"
	"serai/tls/acme"
)

// certsCommand is `serai certs`.
type certsCommand struct {
	List  certsListCommand  `cmd:"" help:"List the certificates that a serai serves, or those of a directory."`
	Renew certsRenewCommand `cmd:"" help:"Renew the certificate of a host now, whatever its age, and wait until that is done."`
}

type certsListCommand struct {
	asking
	CertDir string `help:"Directory of NAME.crt and NAME.key pairs to list, instead of asking a serai." placeholder:"DIR"`
}

// Run prints one line for each certificate; what cannot be read is the error.
func (c certsListCommand) Run(ctx context.Context, env *environment) error {
	var known admin.Certificates
	print := func(out io.Writer) error { return printCertificates(out, &known) }
	if c.CertDir == "" {
		return c.ask(ctx, env, "certificates", nil, &known, print)
	}
	if c.Admin != defaultAdmin {
		return &usageError{errors.New("--cert-dir and --admin can't be used together: list files, or ask a serai")}
	}
	store := tls.NewStore()
	err := (&tls.Files{Dir: c.CertDir}).Load(store)
	known.Certificates = store.Current().Status()
	if c.JSON {
		text, wrong := json.MarshalIndent(&known, "", "  ")
		fmt.Fprintf(env.stdout, "%s\n", text)
		return errors.Join(err, wrong)
	}
	return errors.Join(err, print(env.stdout))
}

func printCertificates(out io.Writer, known *admin.Certificates) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tNAMES\tDAYS LEFT\tEXPIRES\tISSUER")
	for _, s := range known.Certificates {
		days := int(time.Until(s.NotAfter).Hours() / 24)
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.Source, strings.Join(s.Names, ","), days, s.NotAfter.Format(time.DateOnly), s.Issuer)
	}
	if o := known.Obtained; o != nil {
		fmt.Fprintf(w, "\nHOST\tNEXT\tFAILED\tERROR\n")
		for _, h := range o.Hosts {
			next := "now"
			if h.Next != nil {
				next = h.Next.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", h.Host, next, h.Attempts, h.Error)
		}
		fmt.Fprintf(w, "\nOrdered by: %s\n", o.Leader)
		if o.Waiting != nil {
			fmt.Fprintf(w, "Orders wait since %s, and until %s at most, for %d serai that do not answer validations yet:\n",
				o.Waiting.Since.UTC().Format(time.RFC3339), o.Waiting.Until.UTC().Format(time.RFC3339), o.Waiting.Count)
			if o.Waiting.Problem != "" {
				fmt.Fprintf(w, "  which serai there are is not known: %s\n", o.Waiting.Problem)
			}
			for _, p := range o.Waiting.Peers {
				fmt.Fprintf(w, "  %s: %s\n", p.Address, p.Error)
			}
		}
		if o.Problem != "" {
			fmt.Fprintf(w, "The store cannot be read since %s: %s\n", o.Since.UTC().Format(time.RFC3339), o.Problem)
		}
	}
	return w.Flush()
}

type certsRenewCommand struct {
	Host      string   `arg:"" help:"Host whose certificate is renewed."`
	CertStore string   `enum:"nomad,file" default:"nomad" help:"Where the certificates are: nomad (NOMAD_ADDR, NOMAD_NAMESPACE and NOMAD_TOKEN say where and as whom) or file (--state-dir)." placeholder:"nomad|file"`
	StateDir  string   `help:"serai's --state-dir, with --cert-store=file." placeholder:"DIR"`
	Timeout   duration `default:"3m" help:"How long to wait for it; 0 for not at all."`
}

// Run asks the serai that orders certificates, by a record in the store, and
// waits until it has answered by removing that.
func (c certsRenewCommand) Run(ctx context.Context, env *environment) error {
	var client *nomad.Client
	if c.CertStore == "nomad" {
		o := nomad.OptionsFromEnv(env.getenv)
		o.Logger = slog.New(slog.DiscardHandler)
		var err error
		if client, err = nomad.NewClient(o); err != nil {
			return &usageError{fmt.Errorf("nomad client: %w", err)}
		}
		defer client.CloseIdleConnections()
	}
	store, err := openStore(c.CertStore, c.StateDir, client, env.getenv)
	if err != nil {
		return &usageError{err}
	}
	return acme.Renew(ctx, store, strings.ToLower(c.Host), c.Timeout.value(), func(leader string) {
		fmt.Fprintf(env.stdout, "asked %s to renew the certificate of %s\n", leader, c.Host)
	})
}
