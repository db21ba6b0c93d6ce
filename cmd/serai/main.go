// Command serai is the ingress of a Nomad cluster.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	// Whoever reads the help in a pager, and leaves it, is told of no broken pipe.
	if len(os.Args) > 1 && os.Args[1] == "serve" && !slices.Contains(os.Args, "--help") && !slices.Contains(os.Args, "-h") {
		holdSignals()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if err == nil {
		return
	}
	var usage *usageError
	switch {
	case errors.As(err, &usage):
		os.Exit(2)
	case errors.Is(err, errNone):
		os.Exit(3)
	}
	os.Exit(1)
}

// holdSignals is called before anything else: until then a SIGHUP, which asks for a
// new access log, or a SIGUSR1 ends the process. onHangup and onToggle take over. So does a write to
// standard output or error that nobody reads any more, for as long as SIGPIPE is
// not ignored.
func holdSignals() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGUSR1)
	signal.Ignore(syscall.SIGPIPE)
}

// commands is the command line.
type commands struct {
	Serve      serveCommand      `cmd:"" help:"Run the ingress."`
	Dev        devCommand        `cmd:"" help:"Try serai on this machine with nothing installed: a Nomad simulator, sample services and the ingress."`
	Hello      helloCommand      `cmd:"" help:"Run the sample service: it answers with its allocation and what it received."`
	Check      checkCommand      `cmd:"" help:"Check the flags, config file, files, permissions and ports of serai serve, without serving."`
	Certs      certsCommand      `cmd:"" help:"List and renew certificates."`
	Status     statusCommand     `cmd:"" help:"Print a summary of a running serai's state."`
	Routes     routesCommand     `cmd:"" help:"List routes with their traffic."`
	Instances  instancesCommand  `cmd:"" help:"List instances and their state."`
	Rejections rejectionsCommand `cmd:"" help:"List refused tags and services: why, and what to write instead."`
	Events     eventsCommand     `cmd:"" help:"List events: instances ready or ejected, routes, rejections, certificates; -f follows."`
	Explain    explainCommand    `cmd:"" help:"Show which route takes a request, and why the others do not."`
	Top        topCommand        `cmd:"" help:"Show the busiest routes, refreshed every few seconds."`
	LogLevel   logLevelCommand   `cmd:"" help:"Print or set the level of a running serai's log."`

	Completion completionCommand `cmd:"" help:"Print the script that completes serai's command line in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what could follow a command line; asked by the scripts."`
	Man        manCommand        `cmd:"" help:"Print the manual page."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	from origins
}

// environment is what a command may use of the process it runs in.
type environment struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	// from are the flags that something else than the command line gives.
	from origins
}

// usageError is a command line, environment or config file that makes no
// sense.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// argumentError is about an argument of the command line, which it quotes: no flag or variable that is set
// elsewhere has to do with it.
type argumentError struct{ error }

func (e *argumentError) Unwrap() error { return e.error }

// errNone ends a command that was answered, by nothing. What there is to say it has printed; a
// script sees it by the exit code.
var errNone = errors.New("nothing was found")

// exit is what kong's way of ending the process is turned into.
type exit int

// run is the whole program but for the process: it returns when the command
// has ended. Its error has been told on stderr. Errors of usage are *usageError.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	var c commands
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case exit:
			err = nil
		default:
			panic(cause) // the stack of the first one is printed too
		}
		if err != nil && !errors.Is(err, errNone) {
			c.complain(err, args, getenv, stderr)
		}
	}()
	args = slices.Clone(args)
	for i, a := range args {
		if a == "-json" { // as Nomad's commands have it
			args[i] = "--json"
		}
	}
	if len(args) > 0 && args[0] == "help" { // as with other commands
		args = append(slices.Clone(args[1:]), "--help")
	}
	parsed, err := parse(ctx, &c, args, getenv, stdout, stderr)
	if err != nil {
		if len(args) > 0 && args[0] == "check" {
			checkUsage(err, stdout, slices.Contains(args, "--json"))
		}
		return &usageError{err}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	env := &environment{getenv: getenv, stdout: stdout, stderr: stderr, from: c.from}
	switch parsed.Selected().Name {
	case "serve", "dev", "hello": // which go on whoever reads
		return c.from.name(parsed.Run(env))
	}
	print := &printed{Writer: stdout}
	env.stdout = print
	if err = parsed.Run(env); err == nil || errors.Is(err, errNone) {
		err = cmp.Or(print.wrong, err)
	}
	return c.from.name(err)
}

// complain tells why the program ends, as the log is written, also when the
// command line could not be read to its end.
func (c *commands) complain(err error, args []string, getenv func(string) string, stderr io.Writer) {
	line := strings.Contains(strings.Join(args, " ")+" ", "--log-format=json ") || strings.Contains(strings.Join(args, " ")+" ", "--log-format json ")
	if line || c.Serve.LogFormat == "json" || c.Serve.LogFormat == "" && getenv(envName("log-format")) == "json" {
		slog.New(slog.NewJSONHandler(stderr, nil)).Error("serai ends", "error", err.Error())
		return
	}
	fmt.Fprintln(stderr, "serai:", err)
}

// parse reads the command line, then the environment, then the config file
// that either names: the first one that gives a flag wins.
func parse(ctx context.Context, c *commands, args []string, getenv func(string) string, stdout, stderr io.Writer) (*kong.Context, error) {
	try := func(c *commands, config *configFile) (*kong.Context, error) {
		*c = commands{from: make(origins)}
		k, err := kong.New(c,
			kong.Name("serai"),
			kong.Description("The ingress of a Nomad cluster: routes by Host header, learned from service tags."),
			kong.Writers(stdout, stderr),
			kong.Exit(func(code int) { panic(exit(code)) }),
			kong.Resolvers(settings{getenv, config, c.from}),
			kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}), kong.ValueFormatter(withDefault),
		)
		if err != nil {
			return nil, err
		}
		tidyPlaceholders(k.Model.Node)
		parsed, err := k.Parse(args)
		if err == nil && parsed.Selected() != nil {
			serve := c.serving(parsed)
			serve.flags, serve.asking, serve.from = flagNames(parsed), askingFlags(k.Model.Node), c.from
		}
		return parsed, c.from.name(err)
	}
	parsed, err := try(c, nil)
	if err != nil || parsed.Selected() == nil || c.serving(parsed).Config == "" {
		return parsed, err
	}
	serve := c.serving(parsed)
	reader := configReader{path: serve.Config, flags: flagNames(parsed), most: serve.Policies.MaxConfig}
	reader.limits = func(file *configFile) policyFlags {
		var with commands
		try(&with, file) // what is wrong with the flags is told below
		return with.serving(parsed).Policies
	}
	config, err := orStopped(ctx, "read its config file", func() (*configFile, error) { return reader.read(nil) })
	if err == nil {
		err = config.checkHosts()
	}
	if err != nil {
		return nil, err
	}
	parsed, err = try(c, config)
	serve.file = *config
	reader.limits = func(*configFile) policyFlags { return serve.Policies }
	serve.readAgain = func(last *configFile) (*configFile, error) {
		next, err := reader.read(last)
		if err == nil {
			err = next.checkHosts()
		}
		var again commands
		if err == nil {
			_, err = try(&again, next)
		}
		if err == nil {
			again.Serve.file = *next
			err = again.from.name(again.Serve.validate())
		}
		return next, err
	}
	return parsed, err
}

// withDefault is a flag's help with its default, which kong shows only in the place of a
// placeholder.
func withDefault(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag != nil && v.Flag.PlaceHolder != "" && v.HasDefault && v.Default != "" {
		help += " Default: " + v.Default + "."
	}
	return help
}

// tidyPlaceholders takes the dots away that kong itself writes behind those of lists.
func tidyPlaceholders(n *kong.Node) {
	for _, f := range n.Flags {
		if f.IsSlice() {
			f.PlaceHolder = strings.TrimSuffix(f.PlaceHolder, ",...")
		}
	}
	for _, child := range n.Children {
		tidyPlaceholders(child)
	}
}

// serving are the flags of serai serve that a command line gives, to serve or to check.
func (c *commands) serving(parsed *kong.Context) *serveCommand {
	if parsed.Selected().Name == "check" {
		return &c.Check.Serve
	}
	return &c.Serve
}
