package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/admin"
	"serai/policy"
	"serai/policy/auth"
	"serai/policy/auth/keys"
)

// maxPEM bounds a file of certificates, in bytes.
const maxPEM = 1 << 20

// The attributes of a jwt block, and those of them that are lists.
var (
	jwtSettings = []string{
		"issuer", "any_audience", "jwks_url", "jwks_plain", "ca_file", "timeout", "refresh", "jwks_file", "claims", "forward", "header", "cookie", "keep", "realm", "clock_skew", "max_token",
	}
	jwtLists = []string{"audience", "algorithms", "types"}
)

// readJWT reads jwt { issuer = TEXT, audience = [TEXT, ...], jwks_url = URL or
// jwks_file = FILE, claims { NAME = [TEXT, ...] }, forward = { FIELD = CLAIM }, ... }.
func (n *namedBlocks) readJWT(name string, block *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
	s := readSettings(withoutTables(block, "claims", "forward"), jwtSettings, jwtLists)
	s.block = block
	o := auth.JWTOptions{
		Issuer: s.required("issuer"), Audience: s.values["audience"], AnyAudience: s.flag("any_audience"), Types: s.values["types"],
		Header: s.text("header"), Cookie: s.text("cookie"), Realm: s.text("realm"), Strip: !s.flag("keep") && s.text("keep") != "",
		ClockSkew: s.duration("clock_skew"), MaxToken: s.number("max_token"),
	}
	var err error
	if o.Algorithms, err = keys.ParseAlgorithms(s.values["algorithms"]); err != nil {
		s.wrong("algorithms", err.Error())
	}
	for _, e := range s.table(block, "claims") {
		o.Claims = append(o.Claims, auth.Claim{Name: e.name, Values: e.values})
	}
	for _, e := range s.table(block, "forward") {
		if len(e.values) != 1 {
			s.diagnostics = append(s.diagnostics, problem(e.at, "Wrong jwt", fmt.Sprintf("%s wants the name of one claim", e.name)))
			continue
		}
		o.Forward = append(o.Forward, auth.ForwardedClaim{Field: e.name, Claim: e.values[0]})
	}
	source, files := n.readKeys(s, o.Algorithms.Secret())
	if s.failed(nil) {
		return nil, files, s.diagnostics
	}
	j, err := auth.NewJWT(name, o, source, n.tokens)
	if s.failed(err) {
		return nil, files, s.diagnostics
	}
	return j, files, s.diagnostics
}

// readKeys reads where the keys of a block come from, and returns the files that it has
// read.
func (n *namedBlocks) readKeys(s *blockSettings, secret bool) (source keys.Source, files []string) {
	path, url := s.text("jwks_file"), s.text("jwks_url")
	switch {
	case s.diagnostics.HasErrors():
	case (path == "") == (url == ""):
		s.failed(fmt.Errorf("jwt has either jwks_url or jwks_file"))
	case url != "":
		return n.readRemote(s, url)
	default:
		for _, name := range []string{"jwks_plain", "ca_file", "timeout", "refresh"} {
			if s.text(name) != "" {
				s.wrong(name, "has no effect without jwks_url")
			}
		}
		set, err := n.readKeyFile(path, secret)
		if err != nil {
			s.wrong("jwks_file", "cannot be used: "+err.Error())
		}
		return set, []string{path}
	}
	return nil, nil
}

func (n *namedBlocks) readKeyFile(path string, secret bool) (*keys.Set, error) {
	text, err := n.files.whole(path, cmp.Or(n.limits.KeySet, keys.DefaultDocument))
	if err != nil {
		return nil, err
	}
	set, err := keys.ParseSet(text, secret)
	if err == nil && set.Private() {
		err = fmt.Errorf("it has a private key, which nobody but the issuer is to have")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

// readRemote reads where keys are fetched. One that is fetched from already keeps what
// it knows.
func (n *namedBlocks) readRemote(s *blockSettings, url string) (keys.Source, []string) {
	o := keys.RemoteOptions{URL: url, Plain: s.flag("jwks_plain"), Timeout: s.duration("timeout"), Refresh: s.duration("refresh"), AskedEvery: n.limits.UnknownKey.value(), MaxDocument: n.limits.KeySet}
	var files []string
	if path := s.text("ca_file"); path != "" {
		files = append(files, path)
		text, err := n.files.whole(path, maxPEM)
		if err == nil && len(bytes.TrimSpace(text)) == 0 { // which would stand for those of the system
			err = errors.New("there is no certificate in it (PEM)")
		}
		if err != nil {
			s.wrong("ca_file", "cannot be used: "+err.Error())
			return nil, files
		}
		o.CA = string(text)
	}
	remote, err := keys.NewRemote(o)
	if s.failed(err) {
		return nil, files
	}
	if i := slices.IndexFunc(n.remotes, remote.Same); i >= 0 {
		return n.remotes[i], files
	}
	for _, known := range n.remotes {
		remote.Continue(known)
	}
	n.remotes = append(n.remotes, remote)
	return remote, files
}

// remotesOf returns those that the auths fetch keys from.
func (n *namedBlocks) remotesOf() (all []*keys.Remote) {
	for _, a := range n.auths {
		j, ok := a.Check.(*auth.JWT)
		if !ok {
			continue
		}
		if r, ok := j.Keys().(*keys.Remote); ok && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// followKeys has the keys of the file's auths fetched, and no others, and counts what became of
// these auths alone.
func (c *configFile) followKeys() {
	n := &c.named
	if n.tokens == nil { // a file that nobody has read
		return
	}
	n.tokens.Followed.Set(n.remotesOf())
	tokens, questions := make(map[string]bool), make(map[string]bool)
	for _, a := range n.auths {
		switch a.Check.(type) {
		case *auth.JWT:
			tokens[a.Name] = true
		case *auth.Forward:
			questions[a.Name] = true
		}
	}
	n.tokens.Retain(tokens)
	n.questions.Retain(questions)
}

// tokenStatus describes the tokens and keys of the file's auths.
func (c *configFile) tokenStatus() admin.TokenStatus {
	s := c.named.tokens.Status()
	status := admin.TokenStatus{Known: s.Known, Bytes: s.Bytes, Limit: s.Limit, Displaced: s.Displaced, Outcomes: s.Outcomes}
	for _, a := range c.named.auths {
		j, ok := a.Check.(*auth.JWT)
		if !ok {
			continue
		}
		if r, ok := j.Keys().(*keys.Remote); ok {
			s := r.Status()
			status.Keys = append(status.Keys, admin.KeyStatus{Auth: a.Name, Keys: s.Keys, Ignored: s.Ignored, Fetched: s.Fetched, Failed: s.Failed, Changed: s.Changed, Checked: s.Checked, Problem: s.Problem})
		}
	}
	return status
}

// tellIgnored tells which keys of files are of no use.
func (c *configFile) tellIgnored(logger *slog.Logger) {
	for _, a := range c.named.auths {
		if j, ok := a.Check.(*auth.JWT); ok {
			if set, ok := j.Keys().(*keys.Set); ok && len(set.Ignored) > 0 {
				logger.Warn("a key file has keys that cannot be used", "auth", a.Name, "keys", set.Ignored)
			}
		}
	}
}

// entry is one of a table: claims { NAME = VALUES } or claims = { NAME = VALUES }.
type entry struct {
	name   string
	values []string
	at     hcl.Range
}

// withoutTables returns a block without these attributes and blocks, which are tables.
func withoutTables(block *hclsyntax.Block, names ...string) *hclsyntax.Block {
	body := *block.Body
	body.Attributes = maps.Clone(body.Attributes)
	body.Blocks = nil
	for _, name := range names {
		delete(body.Attributes, name)
	}
	for _, b := range block.Body.Blocks {
		if !slices.Contains(names, b.Type) || len(b.Labels) > 0 {
			body.Blocks = append(body.Blocks, b)
		}
	}
	rest := *block
	rest.Body = &body
	return &rest
}

// table reads a table of a block, in the order in which it is written.
func (s *blockSettings) table(block *hclsyntax.Block, name string) (all []entry) {
	add := func(e entry, wrong hcl.Diagnostics) {
		s.diagnostics = append(s.diagnostics, wrong...)
		switch {
		case wrong.HasErrors():
		case len(e.values) == 0:
			s.diagnostics = append(s.diagnostics, problem(e.at, "Wrong "+block.Type, fmt.Sprintf("%s in %s has no value", e.name, name)))
		case slices.ContainsFunc(all, func(o entry) bool { return o.name == e.name }):
			s.diagnostics = append(s.diagnostics, problem(e.at, "Wrong "+block.Type, fmt.Sprintf("%s is given twice in %s", e.name, name)))
		default:
			all = append(all, e)
		}
	}
	if a := block.Body.Attributes[name]; a != nil {
		pairs, wrong := hcl.ExprMap(a.Expr)
		s.diagnostics = append(s.diagnostics, wrong...)
		for _, p := range pairs {
			key, wrong := stringsOf(&hcl.Attribute{Name: name, Expr: p.Key})
			values, more := stringsOf(&hcl.Attribute{Name: name, Expr: p.Value})
			if wrong = append(wrong, more...); len(key) == 1 {
				add(entry{key[0], values, p.Value.Range()}, wrong)
			} else {
				s.diagnostics = append(s.diagnostics, wrong...)
			}
		}
	}
	for _, b := range block.Body.Blocks {
		if b.Type != name || len(b.Labels) > 0 {
			continue
		}
		for _, inner := range b.Body.Blocks {
			s.diagnostics = append(s.diagnostics, problem(inner.DefRange(), "Unknown block", name+" has attributes only"))
		}
		for _, a := range inOrder(b.Body.Attributes) {
			values, wrong := stringsOf(a)
			add(entry{a.Name, values, a.Expr.Range()}, wrong)
		}
	}
	return all
}
