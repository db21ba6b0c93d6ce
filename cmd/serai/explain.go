package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"serai/admin"
)

// explainCommand is `serai explain`.
type explainCommand struct {
	asking
	Request string   `arg:"" help:"HOST, HOST/PATH or a URL."`
	Method  string   `default:"GET" help:"Method of the request." placeholder:"METHOD"`
	Header  []string `short:"H" sep:"none" help:"A header field of the request; may be given several times." placeholder:"NAME:VALUE"`
}

// Help is what the help says below the flags.
func (explainCommand) Help() string {
	return "Exit code: 0 a route takes the request, also where none of its instances is ready; 3 none does; 1 serai could not be asked; 2 the arguments are not valid."
}

// query is what is asked for.
func (c *explainCommand) query() (url.Values, error) {
	text := c.Request
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, &usageError{&argumentError{fmt.Errorf("%q is not HOST, HOST/PATH or a URL", c.Request)}}
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	q := url.Values{"host": {u.Host}, "path": {path}, "method": {c.Method}}
	if u.RawQuery != "" {
		q.Set("query", u.RawQuery)
	}
	if len(c.Header) > 0 {
		q["header"] = c.Header
	}
	return q, nil
}

// Run says which route takes the request, and why the others do not.
func (c *explainCommand) Run(ctx context.Context, env *environment) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	var x admin.Explanation
	err = c.ask(ctx, env, "explain", q, &x, func(out io.Writer) error {
		line := func(name, text string) { fmt.Fprintf(out, "%-9s %s\n", name, shown(text)) }
		line("request", c.Method+" "+x.Host+x.Path)
		if x.Winner == "" {
			line("result", cmp.Or(x.Why, x.Result)) // an older serai does not say why
			if e := x.Gone; e != nil {
				line("gone", fmt.Sprintf("until %s %s/%s had %s%s: %s", e.Time.Local().Format("2006-01-02 15:04:05"), e.Namespace, e.Service, e.Host, e.Details["path"], e.Message))
			}
		} else {
			line("route", x.Winner)
			line("ready", x.Ready)
		}
		for _, p := range x.Policies {
			line("policy", p)
		}
		if len(x.Candidates) > 0 {
			fmt.Fprintln(out)
			t := newTable(out, "", "ROUTE", "HOST AND PATH", "WHY")
			for _, k := range x.Candidates {
				mark := ""
				if k.Wins {
					mark = "*"
				}
				t.add(mark, k.Route, k.Host+k.Path, k.Why)
			}
			t.print(out, "")
		}
		if x.More > 0 {
			fmt.Fprintf(out, "%d more candidates\n", x.More)
		}
		for i := range x.Refused {
			fmt.Fprintln(out)
			printRejection(out, &x.Refused[i])
		}
		return nil
	})
	if err == nil && x.Winner == "" {
		return errNone
	}
	return err
}
