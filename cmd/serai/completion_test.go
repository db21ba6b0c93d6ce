package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestCompletions: each line gets what could follow it, and each command all of its flags.
func TestCompletions(t *testing.T) {
	var c commands
	k, err := kong.New(&c, kong.Name("serai"), kong.Writers(io.Discard, io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	words := func(line string) (all []string) {
		for _, one := range completions(k.Model.Node, line) {
			word, _, _ := strings.Cut(one, "\t")
			all = append(all, word)
		}
		return all
	}
	for line, want := range map[string]string{
		"":                                "",
		"ser":                             "",
		"serai st":                        "status",
		"serai nothing":                   "",
		"serai help ce":                   "certs",
		"serai help certs ":               "list renew",
		"serai certs r":                   "renew",
		"serai completion ":               "bash zsh fish",
		"serai completion bash ":          "",
		"serai comp":                      "completion",
		"serai serve --http2=":            "--http2=on --http2=off",
		"serai serve --http2 ":            "on off",
		"serai serve --http2=of":          "--http2=off",
		"serai serve --cert-key-file=":    ":files",
		"serai serve --config ":           ":files",
		"serai serve --access-log=":       "--access-log=off --access-log=stdout :files",
		"serai serve --state-dir ":        ":directories",
		"serai serve --no-nomad --max-he": "--max-head=",
		"serai serve --reuse":             "--reuse-port",
		"serai serve --nothing=":          "",
		"serai routes --sort la":          "latency",
		"serai -- ":                       "serve dev hello check certs status routes instances rejections events explain top log-level completion man version",
		"serai check --skip=":             "--skip=ports --skip=nomad --skip=consul",
		"serai events -n 3 --si":          "--since=",
		"serai \x00\xff \t --":            "--help",
	} {
		if got := strings.Join(words(line), " "); got != want {
			t.Errorf("%q is followed by %q, want %q", line, got, want)
		}
	}
	var all func(n *kong.Node, path string)
	all = func(n *kong.Node, path string) {
		offered := words(path + " -")
		for _, f := range n.Flags {
			if !f.Hidden && !slices.Contains(offered, "--"+f.Name) && !slices.Contains(offered, "--"+f.Name+"=") {
				t.Errorf("%s is not offered --%s", path, f.Name)
			}
		}
		for _, child := range n.Children {
			all(child, path+" "+child.Name)
		}
	}
	all(k.Model.Node, "serai")
}

// shellPath makes a directory with serai in it, for PATH.
func shellPath(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "serai"), fmt.Appendf(nil, "#!/bin/sh\n%s=1 exec %q \"$@\"\n", asMain, self), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.pem", "two words.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestBashCompletes has a real bash complete lines.
func TestBashCompletes(t *testing.T) {
	t.Parallel()
	bash, dir := program(t, "bash"), shellPath(t)
	// As readline does: = is a word of its own.
	ask := func(line string) string {
		words := regexp.MustCompile(`=|[^\s=]+`).FindAllString(line, -1)
		if strings.HasSuffix(line, " ") {
			words = append(words, "")
		}
		for i, w := range words {
			words[i] = "'" + w + "'"
		}
		r := runProgram(t, "", bash, "--norc", "-c", fmt.Sprintf("cd '%s'; PATH='%s':$PATH; source <(serai completion bash)\nCOMP_WORDS=(%s); COMP_CWORD=%d; COMP_LINE='%s'; COMP_POINT=%d; _serai; printf '<%%s>' \"${COMPREPLY[@]}\"",
			dir, dir, strings.Join(words, " "), len(words)-1, line, len(line)))
		if r.status != 0 || r.err != "" {
			t.Errorf("%q: status %d, %s", line, r.status, r.err)
		}
		return r.out
	}
	for line, want := range map[string]string{
		"serai stat":                        "<status>",
		"serai certs ":                      "<list><renew>",
		"serai serve --http2=":              "<on><off>",
		"serai serve --http2=of":            "<off>",
		"serai serve --max-he":              "<--max-head=>",
		"serai status --admin-ca-file on":   "<one.pem>",
		"serai status --admin-ca-file=tw":   "<two words.pem>",
		"serai serve --cert-dir=non":        "<>",
		"serai routes --sort=rate --sort=h": "<host>",
	} {
		if got := ask(line); got != want {
			t.Errorf("%q is completed to %s, want %s", line, got, want)
		}
	}
	r := runProgram(t, "", bash, "--norc", "-c", fmt.Sprintf("PATH='%s':$PATH; source <(serai completion bash); complete -p serai; compgen -A function _serai", dir))
	if r.out != "complete -F _serai serai\n_serai\n" {
		t.Errorf("bash knows %q, %s", r.out, r.err)
	}
}

// TestFishCompletes has a real fish complete lines.
func TestFishCompletes(t *testing.T) {
	t.Parallel()
	fish, dir := program(t, "fish"), shellPath(t)
	home := t.TempDir()
	for line, want := range map[string]string{
		"serai stat":                      "status\tPrint a summary of a running serai's state\n",
		"serai serve --http2=":            "--http2=on\n--http2=off\n",
		"serai certs ":                    "list\tList the certificates",
		"serai status --admin-ca-file on": "one.pem\n",
		"serai status --admin-ca-file=on": "--admin-ca-file=one.pem\n",
	} {
		r := runProgram(t, "", "/usr/bin/env", "-i", "HOME="+home, "PATH="+dir+":/usr/bin:/bin", "LC_ALL=C.UTF-8", fish, "--no-config", "-c", fmt.Sprintf("cd %s; serai completion fish | source; complete -C '%s'", dir, line))
		if r.status != 0 || !strings.Contains(r.out, want) && !sameLines(r.out, want) {
			t.Errorf("%q is completed to %q, want %q: %s", line, r.out, want, r.err)
		}
	}
}

// sameLines compares lines in any order.
func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestZshCompletes has a real zsh, on a terminal, complete lines at a press of the tab key.
func TestZshCompletes(t *testing.T) {
	t.Parallel()
	zsh, dir := program(t, "zsh"), shellPath(t)
	for line, want := range map[string]string{
		"serai stat\t":                      "serai status",
		"serai serve --max-he\t":            "serai serve --max-head=",
		"serai serve --http2=of\t":          "serai serve --http2=off",
		"serai status --admin-ca-file on\t": "serai status --admin-ca-file one.pem",
		"serai status --admin-ca-file=on\t": "serai status --admin-ca-file=one.pem",
	} {
		// The line is not run: a widget prints it.
		script := fmt.Sprintf(`
zmodload zsh/zpty
zpty z env PATH=%[1]q:$PATH zsh -f -i
tell() { zpty -w z "$1" }
tell 'cd %[1]s; PS1=; autoload -Uz compinit; compinit -u -d %[1]s/dump; source <(serai completion zsh)'
tell 'told() { print -r -- "told<$BUFFER>"; zle kill-buffer }; zle -N told; bindkey "^X" told; print ready; print made'
zpty -r z out '*made*made*' || zpty -r z out '*made*'
zpty -w -n z $'%[2]s'
zpty -w -n z $'\x18'
zpty -r z out '*told<*>*'
print -r -- "$out"
zpty -d z
`, dir, strings.ReplaceAll(line, "\t", `\t`))
		r := runProgram(t, script, zsh, "-f")
		if !strings.Contains(r.out, "told<"+want) {
			t.Errorf("%q is completed to %q, want %q: %s", line, r.out, want, r.err)
		}
	}
}

// TestManualPage: mandoc finds no mistake in the page, and man shows all that the help has.
func TestManualPage(t *testing.T) {
	t.Parallel()
	var page buffer
	if err := run(t.Context(), []string{"man"}, func(string) string { return "" }, &page, io.Discard); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "serai.1")
	if err := os.WriteFile(file, []byte(page.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range serveFlags(t) {
		if f.Name == "help" {
			continue
		}
		if n := strings.Count(page.String(), "\n.B "+escaped(flagText(f))+"\n"); n < 1 {
			t.Errorf("--%s is not in the page", f.Name)
		}
	}
	t.Run("mandoc", func(t *testing.T) {
		r := runProgram(t, "", program(t, "mandoc"), "-T", "lint", "-W", "warning", file)
		// The time of the build is known of builds from a repository alone.
		if complaint := strings.TrimSpace(r.out); complaint != "" && !regexp.MustCompile(`^mandoc: \S+: WARNING: missing date, using "": TH$`).MatchString(complaint) {
			t.Errorf("status %d: %.3000s%s", r.status, r.out, r.err)
		}
	})
	t.Run("man", func(t *testing.T) {
		r := runProgram(t, "", "/usr/bin/env", "MANWIDTH=100", "LC_ALL=C.UTF-8", program(t, "man"), "--warnings", "-l", file)
		text := regexp.MustCompile(`.\x08`).ReplaceAllString(r.out, "")
		for _, want := range []string{"NAME", "--admin-token-file=FILE", "explain <request>", "EXIT STATUS"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page that man shows has no %q", want)
			}
		}
		if r.status != 0 || r.err != "" {
			t.Errorf("man says %d, %.2000s", r.status, r.err)
		}
	})
}
