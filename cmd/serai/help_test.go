package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestHelpTellsDefaults: whoever reads the help of serai serve learns of each flag what it is when
// nobody sets it, and how the environment sets it.
func TestHelpTellsDefaults(t *testing.T) {
	out, err := says(t, "help", "serve")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out), " ")
	told := 0
	for _, f := range serveFlags(t) {
		if f.Default == "" || f.IsBool() {
			continue
		}
		told++
		_, help, found := strings.Cut(text, " --"+f.Name+"=")
		if !found || !strings.HasPrefix(help, f.Default) && !strings.HasPrefix(help, `"`+f.Default+`"`) && !strings.Contains(help, "Default: "+f.Default+".") {
			t.Errorf("of --%s=%s the help says %.200s", f.Name, f.Default, help)
		}
	}
	if told < 100 {
		t.Errorf("%d flags have a default", told)
	}
	for _, want := range []string{"--max-head is SERAI_MAX_HEAD and max_head", "--namespaces=NAME,... "} {
		if !strings.Contains(text, want) {
			t.Errorf("the help has no %q", want)
		}
	}
}

// TestHelpInAPager: who has read enough of the help leaves the pager, which is no error to be told of.
func TestHelpInAPager(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve", "--help"}, {"serve", "-h"}, {"help", "serve"}, {"check", "--help"}, {"man"}} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		var said bytes.Buffer
		c := exec.Command(self, args...)
		c.Env, c.Stdout, c.Stderr = []string{asMain + "=1"}, w, &said
		c.Run() // ends by the signal, as other commands do
		w.Close()
		if said.Len() > 0 {
			t.Errorf("%v says %q", args, said.String())
		}
	}
}
