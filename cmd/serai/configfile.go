package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"serai/policy"
	"serai/tls"
)

// configFile is an HCL file: an attribute for each flag, a block for each
// namespace that owns hosts or has policies, one for each host that namespaces share,
// one for each policy and auth that tags can name, and one for hosts that demand a
// certificate of their clients:
//
//	http       = ":8080"
//	namespaces = ["*", "!secret"]
//
//	namespace "team-a" {
//	  hosts    = ["*.team-a.example.org"]
//	  policies = ["secure"]
//	}
//
//	policy "secure" {
//	  hsts = "max-age=31536000"
//	}
//
//	share "www.example.org" {
//	  namespaces = ["team-a", "team-b"]
//	}
//
//	client_certificates {
//	  hosts   = ["partners.example.org"]
//	  ca_file = "/etc/serai/partners.pem"
//	}
type configFile struct {
	path           string
	flags          map[string]string
	namespaceHosts map[string][]string
	shares         map[string][]string // namespaces by host
	clientRules    []tls.ClientRule
	namespaces     map[string]bool // that have a block
	named          namedBlocks
	catalog        *policy.Catalog
	blocks         hclsyntax.Blocks
	// sums are of the files that it was made from, by path: the config file itself, and
	// those of secrets.
	sums map[string]fileSum
}

// readConfig reads a config file, and what it refers to. Its error tells all that is
// wrong, with line and column; the result then says only which files were read. What has
// not changed since last, which may be nil, is kept.
func readConfig(path string, flags []string, last *configFile) (*configFile, error) {
	return configReader{path: path, flags: flags}.read(last)
}

// configReader reads a config file.
type configReader struct {
	path  string
	flags []string // that it may set
	most  int64    // bytes; 0 for the default
	// limits are what bounds the rest, as the flags say that the file sets; nil for the
	// defaults.
	limits func(*configFile) policyFlags
}

func (r configReader) read(last *configFile) (*configFile, error) {
	path, flags := r.path, r.flags
	c := &configFile{path: path, flags: make(map[string]string), namespaceHosts: make(map[string][]string), shares: make(map[string][]string), namespaces: make(map[string]bool)}
	files := filesOf(last)
	files.config = r.most
	text, err := files.whole(path, cmp.Or(r.most, defaultConfig))
	if err != nil {
		return nil, fmt.Errorf("config file: %w", err)
	}
	if last != nil && len(bytes.TrimSpace(text)) == 0 {
		// So it is while a program that has truncated it hangs, or the disk is full.
		return nil, fmt.Errorf("config file: %s is empty: if nothing is meant, write a comment", path)
	}
	file, diagnostics := hclparse.NewParser().ParseHCL(text, path)
	if diagnostics.HasErrors() {
		return nil, fmt.Errorf("config file: %w", all(diagnostics))
	}
	body := file.Body.(*hclsyntax.Body) // what ParseHCL gives
	c.blocks, c.sums = body.Blocks, map[string]fileSum{path: sumOf(text)}
	for _, a := range body.Attributes {
		name := strings.ReplaceAll(a.Name, "_", "-")
		if !slices.Contains(flags, name) {
			diagnostics = append(diagnostics, problem(a.NameRange, "Unknown setting", fmt.Sprintf("%q is not a flag of serai serve%s", a.Name, nearest(name, flags))))
			continue
		}
		values, wrong := stringsOf(a.AsHCLAttribute())
		if diagnostics = append(diagnostics, wrong...); !wrong.HasErrors() {
			c.flags[name] = strings.Join(values, ",")
		}
	}
	if r.limits != nil {
		c.named.limits = r.limits(c)
	}
	c.named.inherit(last, files)
	for _, block := range body.Blocks {
		switch {
		case block.Type == "namespace" && len(block.Labels) == 1:
			diagnostics = append(diagnostics, c.readNamespace(block.AsHCLBlock())...)
		case block.Type == "share" && len(block.Labels) == 1:
			diagnostics = append(diagnostics, c.readShare(block.AsHCLBlock())...)
		case block.Type == "policy" && len(block.Labels) == 1:
			diagnostics = append(diagnostics, c.named.readPolicy(block)...)
		case block.Type == "auth" && len(block.Labels) == 1:
			diagnostics = append(diagnostics, c.named.readAuth(block, text, last)...)
		case block.Type == "client_certificates" && len(block.Labels) == 0:
			diagnostics = append(diagnostics, c.readClients(block.AsHCLBlock())...)
		default:
			diagnostics = append(diagnostics, problem(block.DefRange(), "Unknown block",
				fmt.Sprintf("%q is no block of a config file, which has namespace \"NAME\" (with hosts and policies), share \"HOST\" (with namespaces), policy \"NAME\", auth \"NAME\" and client_certificates (with hosts and ca_file)", block.Type)))
		}
	}
	catalog, wrong := c.named.catalog()
	c.catalog = catalog
	diagnostics = append(diagnostics, wrong...)
	for _, a := range c.named.read {
		maps.Copy(c.sums, a.sums)
	}
	if diagnostics = append(diagnostics, c.overruled(body.Blocks)...); diagnostics.HasErrors() {
		return c, fmt.Errorf("config file: %w", all(diagnostics))
	}
	return c, nil
}

func (c *configFile) readNamespace(block *hcl.Block) hcl.Diagnostics {
	name := block.Labels[0]
	content, diagnostics := block.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "hosts"}, {Name: "policies"}}})
	hosts, policies := content.Attributes["hosts"], content.Attributes["policies"]
	if c.namespaces[name] {
		diagnostics = append(diagnostics, problem(block.DefRange, "Namespace given twice", fmt.Sprintf("write one block for namespace %q", name)))
	}
	c.namespaces[name] = true
	if hosts == nil && policies == nil && !diagnostics.HasErrors() {
		diagnostics = append(diagnostics, problem(block.DefRange, "Missing required argument", `a namespace has hosts, policies or both`))
	}
	if hosts != nil {
		values, wrong := stringsOf(hosts)
		diagnostics = append(diagnostics, wrong...)
		c.namespaceHosts[name] = values
		if strings.ContainsAny(name, `*?[\!`) {
			diagnostics = append(diagnostics, problem(hosts.Range, "Hosts of a pattern", fmt.Sprintf("no namespace has the name %q, and hosts are of namespaces by name: write a block for each", name)))
		}
	}
	if policies != nil {
		diagnostics = append(diagnostics, c.named.readDefaults(name, block.LabelRanges[0], policies)...)
	}
	return diagnostics
}

func (c *configFile) readShare(block *hcl.Block) hcl.Diagnostics {
	host := block.Labels[0]
	content, diagnostics := block.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "namespaces", Required: true}}})
	if _, twice := c.shares[host]; twice {
		diagnostics = append(diagnostics, problem(block.DefRange, "Host shared twice", fmt.Sprintf("write one block for host %q", host)))
	}
	if a := content.Attributes["namespaces"]; a != nil {
		values, wrong := stringsOf(a)
		diagnostics = append(diagnostics, wrong...)
		c.shares[host] = values
	}
	return diagnostics
}

func (c *configFile) readClients(block *hcl.Block) hcl.Diagnostics {
	content, diagnostics := block.Body.Content(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{
		{Name: "hosts", Required: true}, {Name: "ca_file", Required: true}, {Name: "optional"},
	}})
	var rule tls.ClientRule
	for name, a := range content.Attributes {
		values, wrong := stringsOf(a)
		diagnostics = append(diagnostics, wrong...)
		switch {
		case wrong.HasErrors():
		case name == "hosts":
			rule.Hosts = values
		case len(values) != 1:
			diagnostics = append(diagnostics, problem(a.Expr.Range(), "Wrong type", name+" wants one value"))
		case name == "ca_file":
			rule.CAFile = values[0]
		case values[0] == "true" || values[0] == "false":
			rule.Optional = values[0] == "true"
		default:
			diagnostics = append(diagnostics, problem(a.Expr.Range(), "Wrong type", "optional wants true or false"))
		}
	}
	c.clientRules = append(c.clientRules, rule)
	return diagnostics
}

// stringsOf evaluates an attribute: a string, number or bool, or a list of
// them.
func stringsOf(a *hcl.Attribute) ([]string, hcl.Diagnostics) {
	v, diagnostics := a.Expr.Value(nil)
	if diagnostics.HasErrors() {
		return nil, diagnostics
	}
	list := []cty.Value{v}
	if t := v.Type(); !v.IsNull() && (t.IsTupleType() || t.IsListType()) {
		list = v.AsValueSlice()
	}
	var values []string
	for _, e := range list {
		s, err := convert.Convert(e, cty.String)
		if err != nil || s.IsNull() {
			return nil, hcl.Diagnostics{problem(a.Expr.Range(), "Wrong type", fmt.Sprintf("%s wants a string, a number, true or false, or a list of these", a.Name))}
		}
		values = append(values, s.AsString())
	}
	return values, nil
}

func problem(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// all joins diagnostics, of which HCL prints only the first.
func all(diagnostics hcl.Diagnostics) error {
	var errs []error
	for _, d := range diagnostics {
		errs = append(errs, d)
	}
	return errors.Join(errs...)
}
