package main

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/router"
)

// checkHosts tells which block has a host that is none, or that is shared with nobody or
// twice.
func (c *configFile) checkHosts() error {
	var wrong hcl.Diagnostics
	shares := make(map[string][]string)
	for _, b := range c.blocks {
		if len(b.Labels) != 1 {
			continue
		}
		label, o := b.Labels[0], router.Options{}
		switch b.Type {
		case "namespace":
			o.Owners = map[string][]string{label: c.namespaceHosts[label]}
		case "share":
			shares[label] = c.shares[label]
			o.Share = shares
		}
		if err := o.ValidateHosts(); err != nil {
			wrong = append(wrong, problem(b.DefRange(), "Wrong "+b.Type, err.Error()))
			delete(shares, label)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("config file: %w", all(wrong))
	}
	return nil
}

// overruled tells of share blocks that a namespace block leaves without effect:
// what it owns is never shared.
func (c *configFile) overruled(blocks hclsyntax.Blocks) (diagnostics hcl.Diagnostics) {
	place := func(kind, label string) (at hcl.Range) {
		for _, b := range blocks {
			if b.Type == kind && len(b.Labels) == 1 && b.Labels[0] == label {
				at = b.DefRange()
			}
		}
		return at
	}
	o := router.Options{Owners: c.namespaceHosts, Share: c.shares}
	for _, r := range o.Overruled() {
		namespace := place("namespace", r.Namespace)
		detail := fmt.Sprintf("%q belongs to namespace %q, by %q at %s; list it for every namespace that may claim it, or take it out of either block", r.Share, r.Namespace, r.Pattern, namespace)
		if r.Pattern == "" {
			detail = fmt.Sprintf("namespace %q may claim only the hosts of its block at %s; list %q there for all who share it, or take the namespace out of this block", r.Namespace, namespace, r.Share)
		}
		diagnostics = append(diagnostics, problem(place("share", r.Share), "Share without effect", detail))
	}
	return diagnostics
}
