package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/zclconf/go-cty/cty"
)

// written is the config file that means the same.
func (c *configFile) written() []byte {
	var b strings.Builder
	list := func(values []string) string {
		var all []string
		for _, v := range values {
			all = append(all, quotedHCL(v))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	for name, value := range c.flags {
		fmt.Fprintf(&b, "%s = %s\n", strings.ReplaceAll(name, "-", "_"), quotedHCL(value))
	}
	for name, hosts := range c.namespaceHosts {
		fmt.Fprintf(&b, "namespace %s {\n  hosts = %s\n}\n", quotedHCL(name), list(hosts))
	}
	for host, namespaces := range c.shares {
		fmt.Fprintf(&b, "share %s {\n  namespaces = %s\n}\n", quotedHCL(host), list(namespaces))
	}
	for _, r := range c.clientRules {
		fmt.Fprintf(&b, "client_certificates {\n  hosts = %s\n  ca_file = %s\n  optional = %v\n}\n", list(r.Hosts), quotedHCL(r.CAFile), r.Optional)
	}
	return []byte(b.String())
}

// quotedHCL writes a string of HCL, with each character but letters and digits by its
// number.
func quotedHCL(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\U%08x", r)
		}
	}
	return `"` + b.String() + `"`
}

// FuzzConfig: a config file that is read can be written down again and means the
// same; one that is not read says where it is wrong.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"", "http = \":80\"", "share \"www.example.org\" {\n  namespaces = [\"team-a\", \"team-b\"]\n}\n", "share \"*\" {\n namespaces = \"a\"\n}\n",
		"share \"a.test\" {\n namespaces = [1, true]\n}\nnamespace \"a\" {\n hosts = [\"b.test\"]\n}\n", "share \"a\" \"b\" {\n namespaces = []\n}\n", "share {\n namespaces = []\n}\n",
		"share \"a.test\" {\n namespaces = [null]\n}\n", "share \"${x}\" {\n namespaces = []\n}\n", "share \"a.test\" {\n namespaces = [\"$${x}\", \"%{if true}a%{endif}\"]\n}\n",
		"share \"a.test\" {\n namespaces = [for x in [\"a\"] : x]\n share \"b.test\" {}\n}\n", "share a {\n namespaces = {a = 1}\n}\n", "share \"a.test\" {\n namespaces = []\n namespaces = []\n}\n",
		"client_certificates {\n hosts = [\"a.test\"]\n ca_file = \"x\"\n optional = maybe\n}\n", "share \"a\\n\\\"\" {\n namespaces = [\"\\u0000\"]\n}", "share \"a.test\" {\n namespaces = [[\"a\"], \"b\"]\n}\n",
		"policy \"a\" {\n namespaces = [\"a-*\", \"!a-b\"]\n allow = [\"10.0.0.0/8\"]\n rate = \"5/s\"\n}\nnamespace \"a-*\" {\n policies = [\"a\"]\n}\n", "auth \"a\" {\n basic {}\n}\n",
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "serai.hcl")
	read := func(t *testing.T, text []byte) (*configFile, error) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return readConfig(path, []string{"http", "max-head", "namespaces"}, nil)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := read(t, text)
		if err != nil {
			if !strings.Contains(err.Error(), path+":") {
				t.Errorf("%q is refused without a place: %v", text, err)
			}
			return
		}
		for host, namespaces := range c.shares {
			if strings.Count(string(text), "share") < len(c.shares) {
				t.Errorf("%q shares %q with %q", text, host, namespaces)
			}
		}
		again, err := read(t, c.written())
		if err != nil {
			t.Fatalf("%q, written as %q, is refused: %v", text, c.written(), err)
		}
		same := maps.Equal(c.flags, again.flags) && maps.EqualFunc(c.namespaceHosts, again.namespaceHosts, slices.Equal) && maps.EqualFunc(c.shares, again.shares, slices.Equal) && len(c.clientRules) == len(again.clientRules)
		for i := range c.clientRules {
			a, b := c.clientRules[i], again.clientRules[i]
			same = same && slices.Equal(a.Hosts, b.Hosts) && a.CAFile == b.CAFile && a.Optional == b.Optional
		}
		if !same {
			t.Errorf("%q, written as %q, is something else", text, c.written())
		}
	})
}

// FuzzShare: a share block has exactly the host and the namespaces that were written,
// whatever bytes they are made of.
func FuzzShare(f *testing.F) {
	f.Add("www.example.org", "team-a", "team-b")
	f.Add("*", "", "*")
	f.Add("a\"} share \"b\" {", "${x}", "%{if}")
	f.Add("a\nb", "\x00", "\u212a")
	path := filepath.Join(f.TempDir(), "serai.hcl")
	f.Fuzz(func(t *testing.T, host, first, second string) {
		for _, s := range []*string{&host, &first, &second} {
			*s = cty.StringVal(strings.ToValidUTF8(*s, "")).AsString() // what HCL can hold: NFC
		}
		c := &configFile{shares: map[string][]string{host: {first, second}}}
		if err := os.WriteFile(path, c.written(), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readConfig(path, nil, nil)
		if err != nil {
			t.Fatalf("%q is refused: %v", c.written(), err)
		}
		if !maps.EqualFunc(c.shares, got.shares, slices.Equal) || len(got.flags)+len(got.namespaceHosts)+len(got.clientRules) > 0 {
			t.Errorf("%q shares %q", c.written(), got.shares)
		}
		if err := os.WriteFile(path, append(c.written(), c.written()...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readConfig(path, nil, nil); err == nil || !strings.Contains(errors.Unwrap(err).Error(), "Host shared twice") {
			t.Errorf("two blocks for %q are taken: %v", host, err)
		}
	})
}
