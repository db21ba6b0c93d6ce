package router_test

import (
	"fmt"
	"strings"
	"testing"

	"serai/discovery"
	"serai/policy"
	"serai/router"
)

// operator is what the operator's file says in a test.
type operator struct {
	blocks   []*block
	auths    []*policy.Auth
	defaults []policy.Default
}

// block is a policy of the operator's file.
type block struct {
	name     string
	of       policy.Namespaces
	settings []router.Setting
}

// line reads a line of a case.
func (o *operator) line(t *testing.T, word, rest string) {
	switch name, patterns, _ := strings.Cut(rest, " "); word {
	case "policy":
		o.blocks = append(o.blocks, &block{name: name, of: namespaces(t, patterns)})
	case "setting":
		key, value, _ := strings.Cut(rest, " = ")
		b := o.blocks[len(o.blocks)-1]
		if n := len(b.settings); n > 0 && b.settings[n-1].Key == key {
			b.settings[n-1].Values = append(b.settings[n-1].Values, value)
			return
		}
		b.settings = append(b.settings, router.Setting{Key: key, Values: []string{value}})
	case "auth":
		o.auths = append(o.auths, &policy.Auth{Name: name, For: namespaces(t, patterns), Check: nobody(name)})
	case "default":
		o.defaults = append(o.defaults, policy.Default{Pattern: name, For: namespaces(t, name), Policies: strings.Split(patterns, ",")})
	}
}

// catalog makes the catalog, and says what is wrong with the policies. As in the file,
// one that is wrong is not there.
func (o *operator) catalog() (*policy.Catalog, string) {
	var wrong strings.Builder
	var policies []*policy.Named
	for _, b := range o.blocks {
		p, problems := router.NewGrammar("ingress").ParsePolicy(b.name, b.settings)
		for _, x := range problems {
			fmt.Fprintf(&wrong, "policy %s: %s\n", b.name, x)
		}
		if p != nil {
			p.For = b.of
			policies = append(policies, p)
		}
	}
	return policy.NewCatalog(policies, o.auths, o.defaults), wrong.String()
}

// namespaces reads patterns with commas, nil for none.
func namespaces(t *testing.T, patterns string) policy.Namespaces {
	if patterns == "" {
		return nil
	}
	n, err := discovery.ParseNamespaces(strings.Split(patterns, ","))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// nobody is an auth that lets nobody through.
type nobody string

func (n nobody) Request(_ policy.Request, reply *policy.Reply) bool {
	reply.Status, reply.Reason = 403, "nobody"
	return true
}

func (n nobody) Explain() string { return "auth: " + string(n) + " lets nobody through" }

// catalogOf makes the catalog of lines of a case.
func catalogOf(t *testing.T, lines ...string) *policy.Catalog {
	t.Helper()
	var o operator
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		o.line(t, word, rest)
	}
	c, wrong := o.catalog()
	if wrong != "" {
		t.Fatal(wrong)
	}
	return c
}
