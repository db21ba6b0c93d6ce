package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/discovery"
	"serai/policy"
	"serai/policy/auth"
	"serai/policy/auth/keys"
	"serai/policy/auth/oidc"
	"serai/router"
	"serai/secret"
)

// namedBlocks are the blocks of a config file that make its policy.Catalog.
type namedBlocks struct {
	policies []*policy.Named
	auths    []*policy.Auth
	defaults []policy.Default
	// places are where names stand that must lead to a block of the same file.
	places []namedPlace
	limits policyFlags
	// passwords checks those of all auths, tokens has what was learned of tokens, questions
	// counts those to services. They are never made anew.
	passwords *auth.Passwords
	tokens    *auth.Tokens
	questions *auth.Questions
	// remotes are where keys of tokens are fetched, also those of the last file.
	remotes []*keys.Remote
	// logins is what those with a provider share, and is never made anew. Providers are
	// those, also of the last file.
	logins    *oidc.Shared
	providers []*oidc.Provider
	// table is asked for services of the table, and is never made anew either.
	table *tableServices
	// secrets has those that are kept in Nomad variables, and is never made anew. Reading
	// are those of the auth that is being read.
	secrets *secret.Store
	reading []*secret.Secret
	// files reads all files, and is never made anew.
	files *fileReader
	// read are the auth blocks by name, as they were read.
	read map[string]readAuth
}

// readAuth is an auth block and what it was made from.
type readAuth struct {
	text string
	sums map[string]fileSum // of its files
	// secrets are those that it needs from variables.
	secrets []*secret.Secret
	*policy.Auth
}

// namedPlace is a name in a config file, and which kind of block must have it.
type namedPlace struct {
	kind, name string
	at         hcl.Range
}

// filesOf is what reads the files of the config file that follows one, nil for none.
func filesOf(last *configFile) *fileReader {
	if last == nil || last.named.files == nil {
		return &fileReader{}
	}
	return last.named.files
}

// inherit takes over what outlives a file.
func (n *namedBlocks) inherit(last *configFile, files *fileReader) {
	n.files = files
	n.files.most = cmp.Or(n.limits.MaxConfigFiles, maxSecret)
	if last == nil || last.named.passwords == nil {
		n.passwords, n.tokens, n.logins, n.questions = auth.NewPasswords(), auth.NewTokens(), oidc.NewShared(), &auth.Questions{}
		n.passwords.SetLimits(n.limits.passwords())
		n.tokens.SetLimits(n.limits.tokens())
		n.logins.SetLimits(n.limits.logins())
		n.secrets, n.table = secret.NewStore(), &tableServices{}
		return
	}
	before := &last.named
	n.passwords, n.tokens, n.logins = before.passwords, before.tokens, before.logins
	n.secrets, n.table, n.questions = before.secrets, before.table, before.questions
	n.remotes, n.providers = before.remotesOf(), before.providersOf()
}

// catalog makes the catalog of all blocks, and tells of names that nothing has.
func (n *namedBlocks) catalog() (*policy.Catalog, hcl.Diagnostics) {
	var diagnostics hcl.Diagnostics
	known := map[string][]string{"policy": {}, "auth": {}}
	for _, p := range n.policies {
		known["policy"] = append(known["policy"], p.Name)
	}
	for _, a := range n.auths {
		known["auth"] = append(known["auth"], a.Name)
	}
	for _, p := range n.places {
		if !slices.Contains(known[p.kind], p.name) {
			diagnostics = append(diagnostics, problem(p.at, "Unknown "+p.kind, fmt.Sprintf("no block is %s %q%s", p.kind, p.name, nearest(p.name, known[p.kind]))))
		}
	}
	return policy.NewCatalog(n.policies, n.auths, n.defaults), diagnostics
}

// readPolicy reads policy "NAME" { namespaces = [...], KEY = ... }.
func (n *namedBlocks) readPolicy(block *hclsyntax.Block) (diagnostics hcl.Diagnostics) {
	name := block.Labels[0]
	if !router.ValidName(name) {
		return hcl.Diagnostics{problem(block.LabelRanges[0], "Not a name", fmt.Sprintf("%q is not up to 64 letters, digits, dashes and underscores", name))}
	}
	if slices.ContainsFunc(n.policies, func(p *policy.Named) bool { return p.Name == name }) {
		diagnostics = append(diagnostics, problem(block.DefRange(), "Policy given twice", fmt.Sprintf("write one block for policy %q", name)))
	}
	for _, b := range block.Body.Blocks {
		diagnostics = append(diagnostics, problem(b.DefRange(), "Unknown block", "a policy has attributes only"))
	}
	var of policy.Namespaces
	var settings []router.Setting
	var attributes []*hcl.Attribute
	for _, a := range inOrder(block.Body.Attributes) {
		values, wrong := stringsOf(a)
		switch diagnostics = append(diagnostics, wrong...); {
		case wrong.HasErrors():
		case a.Name == "namespaces":
			of, wrong = namespacesOf(a, values)
			diagnostics = append(diagnostics, wrong...)
		default:
			settings, attributes = append(settings, router.Setting{Key: strings.ReplaceAll(a.Name, "_", "-"), Values: values}), append(attributes, a)
		}
	}
	if len(settings) == 0 && !diagnostics.HasErrors() {
		diagnostics = append(diagnostics, problem(block.DefRange(), "Empty policy", fmt.Sprintf("policy %q asks for nothing, and a route that names it as its guard would be open; give it a key, such as allow, or leave it out", name)))
	}
	grammar := router.NewGrammar("ingress")
	grammar.SetNetworks(n.limits.Networks)
	p, problems := grammar.ParsePolicy(name, settings)
	for _, wrong := range problems {
		at := block.DefRange()
		if wrong.Setting >= 0 {
			at = attributes[wrong.Setting].Range
		}
		diagnostics = append(diagnostics, problem(at, "Wrong policy", wrong.String()))
	}
	if p == nil {
		p = &policy.Named{Name: name} // so that whatever names it is not wrong, too
	}
	p.For = of
	if p.Route.Auth != "" {
		for i, s := range settings {
			if s.Key == "auth" {
				n.places = append(n.places, namedPlace{"auth", p.Route.Auth, attributes[i].Expr.Range()})
			}
		}
	}
	n.policies = append(n.policies, p)
	return diagnostics
}

// authKind reads the block inside an auth block that says how clients are known, such
// as basic { users_file = "..." }. It returns the check, and the files it was made
// from: when one of them changes, all is read again.
type authKind func(block *hclsyntax.Block) (check policy.RequestPolicy, files []string, diagnostics hcl.Diagnostics)

// authKinds are the kinds of auth by the name of their block, for an auth of that name.
func (n *namedBlocks) authKinds(name string) map[string]authKind {
	return map[string]authKind{
		"basic": func(b *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
			return n.readBasic(name, b)
		},
		"forward": func(b *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
			return n.readForward(name, b)
		},
		"jwt": func(b *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
			return n.readJWT(name, b)
		},
		"oidc": func(b *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
			return n.readLogin(name, b)
		},
	}
}

// readAuth reads auth "NAME" { namespaces = [...], KIND { ... } }. One that is the same
// as in the last file, and whose files are, too, stays what it is: so a reload forgets
// nothing of what it has learned.
func (n *namedBlocks) readAuth(block *hclsyntax.Block, text []byte, last *configFile) (diagnostics hcl.Diagnostics) {
	name := block.Labels[0]
	if !router.ValidName(name) {
		return hcl.Diagnostics{problem(block.LabelRanges[0], "Not a name", fmt.Sprintf("%q is not up to 64 letters, digits, dashes and underscores", name))}
	}
	if _, twice := n.read[name]; twice {
		return hcl.Diagnostics{problem(block.DefRange(), "Auth given twice", fmt.Sprintf("write one block for auth %q", name))}
	}
	this := readAuth{text: string(block.Range().SliceBytes(text)), Auth: &policy.Auth{Name: name}}
	if last != nil {
		if known, ok := last.named.read[name]; ok && known.text == this.text && n.files.unchanged(known.sums) {
			this = known
		}
	}
	if this.Check == nil {
		var files []string
		files, diagnostics = n.parseAuth(this.Auth, block)
		this.sums, this.secrets, n.reading = n.files.sums(files), n.reading, nil
	}
	if n.read == nil {
		n.read = make(map[string]readAuth)
	}
	n.read[name] = this
	n.auths = append(n.auths, this.Auth)
	return append(diagnostics, n.checkVariables(block.DefRange())...)
}

// parseAuth reads an auth block, and returns the files that it has read for it.
func (n *namedBlocks) parseAuth(to *policy.Auth, block *hclsyntax.Block) (files []string, diagnostics hcl.Diagnostics) {
	for _, a := range inOrder(block.Body.Attributes) {
		if a.Name != "namespaces" {
			diagnostics = append(diagnostics, problem(a.NameRange, "Unknown setting", "an auth has namespaces, and one block"))
			continue
		}
		values, wrong := stringsOf(a)
		if diagnostics = append(diagnostics, wrong...); !wrong.HasErrors() {
			to.For, wrong = namespacesOf(a, values)
			diagnostics = append(diagnostics, wrong...)
		}
	}
	kinds := n.authKinds(to.Name)
	want := "one of: " + strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")
	if len(block.Body.Blocks) != 1 {
		return nil, append(diagnostics, problem(block.DefRange(), "Wrong auth", "an auth has one block, which is "+want))
	}
	b := block.Body.Blocks[0]
	read := kinds[b.Type]
	if read == nil || len(b.Labels) > 0 {
		return nil, append(diagnostics, problem(b.DefRange(), "Unknown kind of auth", "want "+want))
	}
	check, files, wrong := read(b)
	if diagnostics = append(diagnostics, wrong...); check == nil && !diagnostics.HasErrors() {
		diagnostics = append(diagnostics, problem(b.DefRange(), "Wrong auth", "the block does not say who may pass"))
	}
	if asks, ok := check.(interface{ Service() string }); ok && check != nil {
		to.Service = asks.Service()
	}
	to.Check = check
	return files, diagnostics
}

// readDefaults reads the policies of namespace "PATTERN" { policies = [...] }.
func (n *namedBlocks) readDefaults(pattern string, at hcl.Range, a *hcl.Attribute) hcl.Diagnostics {
	values, diagnostics := stringsOf(a)
	if diagnostics.HasErrors() {
		return diagnostics
	}
	of, err := discovery.ParseNamespaces([]string{pattern})
	if err != nil || strings.HasPrefix(pattern, "!") {
		return append(diagnostics, problem(at, "Not a namespace", fmt.Sprintf("%q is not the name of a namespace, or a glob such as team-*", pattern)))
	}
	for _, name := range values {
		n.places = append(n.places, namedPlace{"policy", name, a.Expr.Range()})
	}
	n.defaults = append(n.defaults, policy.Default{Pattern: pattern, For: of, Policies: values})
	return diagnostics
}

// namespacesOf reads the namespaces that may take something with a tag.
func namespacesOf(a *hcl.Attribute, patterns []string) (policy.Namespaces, hcl.Diagnostics) {
	if len(patterns) == 0 {
		return nil, hcl.Diagnostics{problem(a.Expr.Range(), "No namespace", "name those that may take it, or leave namespaces out: then all may")}
	}
	of, err := discovery.ParseNamespaces(patterns)
	if err != nil {
		return nil, hcl.Diagnostics{problem(a.Expr.Range(), "Not a namespace", err.Error())}
	}
	return of, nil
}

// inOrder returns the attributes of a block in the order in which they stand there.
func inOrder(attributes hclsyntax.Attributes) (all []*hcl.Attribute) {
	for _, a := range attributes {
		all = append(all, a.AsHCLAttribute())
	}
	slices.SortFunc(all, func(a, b *hcl.Attribute) int { return a.Range.Start.Byte - b.Range.Start.Byte })
	return all
}
