package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/alecthomas/kong"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"serai/policy"
	"serai/tls"
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
	if !named && errors.As(err, &usage) {
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
				fmt.Sprintf("%q is no block of a config file, which has namespace \"NAME\" { hosts = [...], policies = [...] }, share \"HOST\" { namespaces = [...] }, policy \"NAME\" { ... }, auth \"NAME\" { ... } and client_certificates { hosts = [...], ca_file = \"...\" }", block.Type)))
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
