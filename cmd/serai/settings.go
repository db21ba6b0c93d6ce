package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/alecthomas/kong"
)

// settings gives kong the flags that the command line does not: from the
// environment (SERAI_ and the flag's name in upper case, dashes as
// underscores), else from the config file.
type settings struct {
	getenv func(string) string
	config *configFile
	from   origins
}

// origins are the flags that the command line did not give, with what did: the
// name of a variable, or a place in the config file.
type origins map[string]string

// flagWord is a flag in an error.
var flagWord = regexp.MustCompile(`--[a-z][a-z0-9-]*`)

// name makes an error speak of what was written: SERAI_MAX_HEAD, where it says
// --max-head.
func (o origins) name(err error) error {
	if err == nil || len(o) == 0 {
		return err
	}
	text := o.words(err.Error())
	named := text != err.Error()
	var usage *usageError
	if !named && errors.As(err, &usage) && !errors.As(err, new(*argumentError)) {
		text += " (set elsewhere than on the command line: " + strings.Join(slices.Sorted(maps.Values(o)), ", ") + ")"
	}
	return &namedError{err, text}
}

// words makes a text speak of what was written.
func (o origins) words(text string) string {
	return flagWord.ReplaceAllStringFunc(text, func(flag string) string {
		if origin, ok := o[flag[2:]]; ok {
			return origin
		}
		return flag
	})
}

// namedError is an error in other words.
type namedError struct {
	error
	text string
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.error }

func envName(flag string) string {
	return "SERAI_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Resolve returns the value of a flag, nil when it is not set.
func (s settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if flag.Name == "help" {
		return nil, nil
	}
	if v := s.getenv(envName(flag.Name)); v != "" {
		s.from[flag.Name] = envName(flag.Name)
		return v, nil
	}
	if s.config != nil {
		if v, ok := s.config.flags[flag.Name]; ok {
			s.from[flag.Name] = strings.ReplaceAll(flag.Name, "-", "_") + " in " + s.config.path
			return v, nil
		}
	}
	return nil, nil
}

// unknownSettings returns the variables of an environment that look like settings and are none,
// each with what was probably meant: nobody reads them, and whoever set one believes
// otherwise. Those of the tests are not meant.
func unknownSettings(environ, flags []string) (all []string) {
	for _, entry := range environ {
		variable, _, _ := strings.Cut(entry, "=")
		word, ours := strings.CutPrefix(variable, "SERAI_")
		if !ours || strings.HasPrefix(word, "TEST_") {
			continue
		}
		name := strings.ToLower(strings.ReplaceAll(word, "_", "-"))
		if name == "config" || variable == tokenVariable || slices.Contains(flags, name) && envName(name) == variable {
			continue
		}
		known := make([]string, len(flags))
		for i, flag := range flags {
			known[i] = envName(flag)
		}
		all = append(all, fmt.Sprintf("%q%s", variable, nearest(envName(name), known)))
	}
	slices.Sort(all)
	return all
}

// Validate has nothing to say: values are checked where they are used.
func (settings) Validate(*kong.Application) error { return nil }

// flagNames are the flags that a config file may set.
func flagNames(c *kong.Context) (names []string) {
	for _, f := range c.Selected().Flags {
		if f.Name != "config" && f.Name != "max-config-bytes" && f.Name != "json" && f.Name != "skip" {
			names = append(names, f.Name)
		}
	}
	return names
}

// askingFlags are the flags with which other commands than serve reach a serai: in its
// environment they are no mistake.
func askingFlags(n *kong.Node) (names []string) {
	for _, child := range n.Children {
		for _, f := range child.Flags {
			if strings.HasPrefix(f.Name, "admin-") {
				names = append(names, f.Name)
			}
		}
		names = append(names, askingFlags(child)...)
	}
	return names
}

// nearest suggests the name that was probably meant.
func nearest(name string, names []string) string {
	best, distance := "", 1+len(name)/3
	for _, n := range names {
		if d := levenshtein.Distance(name, n, nil); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}
