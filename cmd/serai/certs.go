package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"serai/tls"
)

// certsCommand is `serai certs`.
type certsCommand struct {
	List  certsListCommand  `cmd:"" help:"List the certificates of a directory."`
	Renew certsRenewCommand `cmd:"" help:"Renew certificates now. Not built yet."`
}

type certsListCommand struct {
	CertDir string `required:"" help:"Directory of NAME.crt and NAME.key pairs." placeholder:"DIR"`
}

// Run prints one line for each certificate; what cannot be read is the error.
func (c certsListCommand) Run(env *environment) error {
	store := tls.NewStore()
	err := (&tls.Files{Dir: c.CertDir}).Load(store)
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tNAMES\tDAYS LEFT\tEXPIRES\tISSUER")
	for _, s := range store.Current().Status() {
		days := int(time.Until(s.NotAfter).Hours() / 24)
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.Source, strings.Join(s.Names, ","), days, s.NotAfter.Format(time.DateOnly), s.Issuer)
	}
	return errors.Join(err, w.Flush())
}

type certsRenewCommand struct{}

// Run says that it cannot be done yet.
func (certsRenewCommand) Run() error {
	return errors.New("this version of serai does not obtain certificates, so there is none to renew")
}
