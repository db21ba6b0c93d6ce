package main

import (
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// manCommand is `serai man`.
type manCommand struct{}

// Help is what the help says below the flags.
func (manCommand) Help() string { return "Read it with: serai man | man -l -" }

// Run prints the manual page, of what the flag library knows.
func (manCommand) Run(k *kong.Context, env *environment) error {
	m := &manual{out: env.stdout, served: make(map[string]bool)}
	m.line(`.TH SERAI 1 "%s" "serai %s" "serai"`, built(), version())
	m.line(".SH NAME")
	m.text("serai - " + k.Model.Help)
	m.line(".SH SYNOPSIS")
	m.line(".B serai\n.I command\n.RI [ flags ]")
	m.line(".SH DESCRIPTION")
	m.text("serai routes requests to the services of a Nomad cluster by Host header, path and other conditions, which it learns from the tags of the services. Each flag of serve can also be given as an environment variable, or as an attribute of the config file; the command line wins, then the environment.")
	m.line(".SH COMMANDS")
	for _, child := range k.Model.Children {
		m.command(child)
	}
	m.line(".SH EXIT STATUS")
	for _, s := range [][2]string{
		{"0", "All is well."}, {"1", "It failed: nothing answered, a serai is not ready (status), or something would not work (check)."},
		{"2", "The command line, the environment or the config file is not valid."}, {"3", "No route takes the request (explain)."},
	} {
		m.line(".TP\n.B %s", s[0])
		m.text(s[1])
	}
	m.line(".SH ENVIRONMENT")
	m.line(".TP\n.B SERAI_NAME")
	m.text("The flag --name, in upper case and with _ for -, of any command; one that is empty counts as not set.")
	m.line(".TP\n.B %s", escaped(tokenVariable))
	m.text("The token that the admin of a serai asks for, where no --admin-token-file is given.")
	m.line(".TP\n.B NOMAD_ADDR, NOMAD_TOKEN, NOMAD_TOKEN_FILE, NOMAD_CACERT, CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN ...")
	m.text("Where Nomad and Consul are, and as whom they are asked: as for their own commands; NOMAD_TOKEN_FILE, a file that has the token and is read for each request, is of serai alone.")
	return m.err
}

// built is the day of the commit that serai was built from, empty when that is not known.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			day, _, _ := strings.Cut(s.Value, "T")
			return day
		}
	}
	return ""
}

// manual writes a page for man(7).
type manual struct {
	out    io.Writer
	err    error
	served map[string]bool // the flags of serve
}

// line writes a line of roff as it is.
func (m *manual) line(format string, args ...any) {
	if m.err == nil {
		_, m.err = fmt.Fprintf(m.out, format+"\n", args...)
	}
}

// text writes words.
func (m *manual) text(words string) { m.line("%s", escaped(words)) }

// escaped makes words of which roff reads nothing as a request, and every dash as one that can
// be copied.
func escaped(words string) string {
	words = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(words)
	if strings.HasPrefix(words, ".") || strings.HasPrefix(words, "'") {
		words = `\&` + words
	}
	return words
}

// command writes what a command does, and those below it.
func (m *manual) command(n *kong.Node) {
	if n.Hidden {
		return
	}
	var usage strings.Builder
	for _, p := range n.Positional {
		fmt.Fprintf(&usage, " %s", p.Summary())
	}
	m.line(".SS %s", escaped(strings.TrimPrefix(n.FullPath(), "serai ")+usage.String()))
	m.text(n.Help)
	if n.Detail != "" {
		m.line(".PP")
		m.text(n.Detail)
	}
	for _, p := range n.Positional {
		m.line(".TP\n.I %s", escaped(p.Summary()))
		m.text(p.Help)
	}
	for _, f := range n.Flags {
		if f.Hidden || f.Name == "help" || m.served[f.Name] && n.Name == "check" {
			continue // check takes those of serve, as its help says
		}
		if n.Name == "serve" {
			m.served[f.Name] = true
		}
		m.line(".TP\n.B %s", escaped(flagText(f)))
		help := f.Help
		if f.HasDefault && f.Default != "" {
			help += " Default: " + f.Default + "."
		}
		m.text(help)
	}
	for _, child := range n.Children {
		m.command(child)
	}
}

// flagText is a flag as it is written.
func flagText(f *kong.Flag) string {
	text := "--" + f.Name
	if f.Short != 0 {
		text = "-" + string(f.Short) + ", " + text
	}
	switch {
	case f.IsBool() && f.PlaceHolder != "":
		text += "[=" + f.PlaceHolder + "]"
	case f.IsBool():
	case f.PlaceHolder != "":
		text += "=" + strings.TrimSuffix(f.PlaceHolder, ",...")
		if f.IsSlice() && f.Tag.Sep != -1 {
			text += ",..."
		}
	default:
		text += "=VALUE"
	}
	return text
}
