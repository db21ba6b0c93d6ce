package main

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand is `serai completion`.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// The scripts ask `serai complete` what could follow, so they fit every version of serai.
var (
	//go:embed completion/serai.bash
	bashScript string
	//go:embed completion/serai.zsh
	zshScript string
	//go:embed completion/serai.fish
	fishScript string
)

// Help is what the help says below the flags.
func (completionCommand) Help() string {
	return "bash: source <(serai completion bash), in ~/.bashrc. zsh: source <(serai completion zsh), in ~/.zshrc behind compinit. fish: serai completion fish > ~/.config/fish/completions/serai.fish"
}

// Run prints the script.
func (c completionCommand) Run(env *environment) error {
	_, err := fmt.Fprint(env.stdout, map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell])
	return err
}

// completeCommand is `serai complete`, which the scripts ask.
type completeCommand struct {
	Line string `arg:"" optional:"" help:"The command line up to the cursor."`
}

// Run prints what could stand at the cursor, one a line, with what it means behind a tab.
// ":files" and ":directories" stand for the names of these.
func (c completeCommand) Run(k *kong.Context, env *environment) error {
	for _, one := range completions(k.Model.Node, c.Line) {
		if _, err := fmt.Fprintln(env.stdout, one); err != nil {
			return err
		}
	}
	return nil
}

// completions are what could stand at the end of a line.
func completions(root *kong.Node, line string) (all []string) {
	words := strings.Fields(line)
	if len(words) == 0 || strings.HasSuffix(line, " ") {
		words = append(words, "")
	}
	last := words[len(words)-1]
	node, waits, arguments := root, (*kong.Flag)(nil), 0
	for i, word := range words[:len(words)-1] {
		switch child := childOf(node, word); {
		case i == 0: // serai itself
		case waits != nil:
			waits = nil
		case strings.HasPrefix(word, "-"):
			if name, _, given := strings.Cut(word, "="); !given {
				waits = takesNext(node, name)
			}
		case node == root && word == "help":
		case child != nil:
			node = child
		default:
			arguments++
		}
	}
	if len(words) == 1 {
		return nil // the name of the program is the shell's
	}
	add := func(word, about string) {
		if strings.HasPrefix(word, last) {
			all = append(all, strings.TrimSuffix(word+"\t"+about, "\t"))
		}
	}
	name, _, given := strings.Cut(last, "=")
	switch {
	case waits != nil:
		values(waits.Value, "", add, &all)
	case strings.HasPrefix(last, "-") && given:
		if f := flagOf(node, name); f != nil {
			values(f.Value, name+"=", add, &all)
		}
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				word := "--" + f.Name
				if !f.IsBool() {
					word += "="
				}
				add(word, brief(f.Help))
			}
		}
	case len(node.Children) > 0:
		for _, child := range node.Children {
			if !child.Hidden {
				add(child.Name, brief(child.Help))
			}
		}
	case arguments < len(node.Positional):
		values(node.Positional[arguments], "", add, &all)
	}
	return all
}

// values adds what a value could be: what it is chosen from, as its placeholder says, or files.
func values(v *kong.Value, before string, add func(word, about string), all *[]string) {
	choices := strings.Split(v.Enum, ",")
	if v.Flag != nil && v.Enum == "" {
		choices = strings.Split(v.Flag.PlaceHolder, "|")
	}
	for _, c := range choices {
		switch c = strings.TrimSpace(c); {
		case c == "FILE":
			*all = append(*all, ":files")
		case c == "DIR":
			*all = append(*all, ":directories")
		case c != "" && (v.Enum != "" || c == strings.ToLower(c)):
			add(before+c, "")
		}
	}
}

// childOf is the command below a node that a word names, nil for none.
func childOf(n *kong.Node, word string) *kong.Node {
	for _, child := range n.Children {
		if child.Name == word {
			return child
		}
	}
	return nil
}

// flagOf is the flag of a node that a word such as --name or -n names, nil for none.
func flagOf(n *kong.Node, word string) *kong.Flag {
	for _, group := range n.AllFlags(false) {
		for _, f := range group {
			if word == "--"+f.Name || f.Short != 0 && word == "-"+string(f.Short) {
				return f
			}
		}
	}
	return nil
}

// takesNext is the flag whose value is the following word, nil for none.
func takesNext(n *kong.Node, word string) *kong.Flag {
	if f := flagOf(n, word); f != nil && !f.IsBool() {
		return f
	}
	return nil
}

// brief is the first sentence of a help, or as much of it as fits beside a word.
func brief(help string) string {
	help, _, _ = strings.Cut(help, ". ")
	return fit(strings.TrimSuffix(help, "."), 70)
}
