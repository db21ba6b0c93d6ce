package main

import (
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
