package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"serai/admin"
	"serai/nomad"
	"serai/tls"
	"serai/tls/acme"
)

// certsCommand is `serai certs`.
type certsCommand struct {
	List  certsListCommand  `cmd:"" default:"withargs" help:"List the certificates of a running serai and the state of ACME orders, or those of a directory."`
	Renew certsRenewCommand `cmd:"" help:"Renew the certificate of a host now, whatever its age, and wait for the result."`
}

type certsListCommand struct {
	asking
	CertDir string `help:"Directory of NAME.crt and NAME.key pairs to list, instead of asking a serai." placeholder:"DIR"`
}

// Run prints one line for each certificate; what cannot be read is the error.
func (c certsListCommand) Run(ctx context.Context, env *environment) error {
	var known admin.Certificates
	print := func(out io.Writer) error { return printCertificates(out, &known, known.WhyNone()) }
	// What the command line says wins against what the environment does.
	_, dirElsewhere := env.from["cert-dir"]
	_, adminElsewhere := env.from["admin"]
	switch {
	case c.CertDir == "", c.Admin != defaultAdmin && dirElsewhere && !adminElsewhere:
		return c.ask(ctx, env, "certificates", nil, &known, print)
	case c.Admin != defaultAdmin && dirElsewhere == adminElsewhere:
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
	return errors.Join(err, printCertificates(env.stdout, &known, "no certificate: --cert-dir has no pair NAME.crt and NAME.key that can be used"))
}

// printCertificates prints what a serai serves, what expires first above, or why it serves none,
// and what it obtains.
func printCertificates(out io.Writer, known *admin.Certificates, whyNone string) error {
	t := newTable(out, "NAMES", "LEFT", "EXPIRES", "ISSUER", "SOURCE")
	all := slices.SortedStableFunc(slices.Values(known.Certificates), func(a, b tls.Status) int { return a.NotAfter.Compare(b.NotAfter) })
	for _, s := range all {
		from := s.Source
		if s.Unused {
			from += " (unused: others answer its names)"
		}
		t.add(strings.Join(s.Names, ","), left(s.NotAfter), s.NotAfter.UTC().Format("2006-01-02 15:04Z"), s.Issuer, from)
	}
	if err := t.print(out, shown(whyNone)); err != nil {
		return err
	}
	o := known.Obtained
	if o == nil {
		return nil
	}
	fmt.Fprintln(out)
	t = newTable(out, "HOST", "NEXT", "FAILED", "ERROR OR WAITS FOR")
	for _, h := range o.Hosts {
		next, why := "now", h.Error
		if h.Next != nil {
			next = h.Next.UTC().Format("2006-01-02 15:04Z")
		}
		if why == "" {
			why = h.Held
		}
		t.add(h.Host, next, fmt.Sprint(h.Attempts), why)
	}
	if err := t.print(out, "no host to order a certificate for"); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nOrdered by: %s\n", shown(o.Leader))
	if o.Waiting != nil {
		fmt.Fprintf(out, "Orders wait since %s, and until %s at most, for %d serai that do not answer validations yet:\n",
			o.Waiting.Since.UTC().Format(time.RFC3339), o.Waiting.Until.UTC().Format(time.RFC3339), o.Waiting.Count)
		if o.Waiting.Problem != "" {
			fmt.Fprintf(out, "  the list of all serai is not known: %s\n", shown(o.Waiting.Problem))
		}
		for _, p := range o.Waiting.Peers {
			fmt.Fprintf(out, "  %s: %s\n", shown(p.Address), shown(p.Error))
		}
	}
	if o.Problem != "" {
		fmt.Fprintf(out, "The store cannot be read since %s: %s\n", o.Since.UTC().Format(time.RFC3339), shown(o.Problem))
	}
	return nil
}

// certificatesInWords are the lines that serai status has about certificates.
func certificatesInWords(k *admin.CertificateSummary) (lines []string) {
	if k == nil {
		return nil
	}
	switch {
	case k.Count > 0 && k.First.IsZero():
		lines = append(lines, fmt.Sprintf("%d, all of hosts without a route", k.Count))
	case k.Count > 0:
		lines = append(lines, fmt.Sprintf("%d, the first expires at %s (%s)", k.Count, k.First.UTC().Format("2006-01-02 15:04Z"), left(k.First)))
	}
	if k.Failing != nil && *k.Missing+*k.Failing > 0 {
		lines = append(lines, fmt.Sprintf("hosts that wait for one: %d, hosts whose last order failed: %d; see serai certs list", *k.Missing, *k.Failing))
	}
	return lines
}

// left is how long a certificate is still valid.
func left(until time.Time) string {
	switch d := time.Until(until); {
	case d <= 0:
		return "expired"
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

type certsRenewCommand struct {
	Host      string   `arg:"" help:"Host whose certificate is renewed."`
	CertStore string   `enum:"nomad,file" default:"nomad" help:"Where the certificates are: nomad (NOMAD_ADDR, NOMAD_NAMESPACE and NOMAD_TOKEN say where and as whom) or file (--state-dir)." placeholder:"nomad|file"`
	StateDir  string   `help:"serai's --state-dir, with --cert-store=file." placeholder:"DIR"`
	Timeout   duration `default:"3m" help:"How long to wait for the renewal; 0 to return at once."`
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
	if c.CertStore == "file" && c.StateDir != "" {
		// A serai makes it at its start. To make it here would hide a wrong name.
		if _, err := os.Stat(filepath.Join(c.StateDir, certificatesDir)); err != nil {
			return &usageError{fmt.Errorf("--state-dir: no serai keeps certificates there: %w", err)}
		}
	}
	store, err := openStore(c.CertStore, c.StateDir, client, env.getenv)
	if err != nil {
		return &usageError{err}
	}
	return acme.Renew(ctx, store, strings.ToLower(c.Host), c.Timeout.value(), func(leader string) {
		fmt.Fprintf(env.stdout, "asked %s to renew the certificate of %s\n", leader, c.Host)
	})
}
