package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/policy"
	"serai/policy/auth/oidc"
	"serai/secret"
)

// The settings of an oidc block.
var (
	loginSettings = []string{
		"issuer", "client_id", "client_secret_file", "client_secret_variable", "cookie_key_file", "cookie_key_variable", "ca_file", "user_claim", "groups_claim", "user_field", "email_field", "groups_field",
		"callback_path", "logout_path", "logout_redirect", "lifetime", "renew", "stale", "timeout", "max_inflight", "insecure",
	}
	loginLists = []string{"scopes", "groups", "parameters"}
)

// Bounds of the files of an oidc block, in bytes.
const (
	maxLoginSecret = 4 << 10
	maxAuthorities = 4 << 20
)

// readLogin reads oidc { issuer = URL, client_id = TEXT, client_secret_file = FILE or
// client_secret_variable = PATH, cookie_key_file = FILE or cookie_key_variable = PATH, ... }.
func (n *namedBlocks) readLogin(name string, block *hclsyntax.Block) (policy.RequestPolicy, []string, hcl.Diagnostics) {
	s := readSettings(block, loginSettings, loginLists)
	o := oidc.Options{
		Issuer: s.required("issuer"), ClientID: s.required("client_id"), Scopes: s.values["scopes"], Parameters: s.values["parameters"], Groups: s.values["groups"],
		UserClaim: s.text("user_claim"), GroupsClaim: s.text("groups_claim"), UserField: s.text("user_field"), EmailField: s.text("email_field"), GroupsField: s.text("groups_field"),
		CallbackPath: s.text("callback_path"), LogoutPath: s.text("logout_path"), LogoutRedirect: s.text("logout_redirect"),
		Lifetime: s.duration("lifetime"), Renew: s.duration("renew"), Stale: s.duration("stale"), Timeout: s.duration("timeout"),
		MaxInflight: s.number("max_inflight"), Insecure: s.flag("insecure"),
	}
	if groups := block.Body.Attributes["groups"]; groups != nil && len(o.Groups) == 0 {
		s.wrong("groups", "names no group: leave it out to let all users in")
	}
	var clientSecret atomic.Pointer[string]
	o.ClientSecret = func() string {
		if known := clientSecret.Load(); known != nil {
			return *known
		}
		return ""
	}
	files := n.readSecret(name, s, "client_secret", useClientSecret(&clientSecret))
	var keys atomic.Pointer[oidc.Keys]
	o.Keys = keys.Load
	files = append(files, n.readSecret(name, s, "cookie_key", useCookieKeys(&keys))...)
	authorities, of := n.readAuthorities(s)
	files = append(files, of...)
	if s.failed(nil) {
		return nil, files, s.diagnostics
	}
	var err error
	if o.Provider, err = n.providerOf(oidc.ProviderOptions{Issuer: o.Issuer, CA: authorities, Insecure: o.Insecure, MaxAnswer: n.limits.OIDCAnswer}); s.failed(err) {
		return nil, files, s.diagnostics
	}
	l, err := oidc.New(name, o, n.logins)
	if err == nil {
		if why, twice := n.answeredTwice(l); twice {
			err = errors.New(why)
		}
	}
	if err != nil {
		s.blame(err)
		return nil, files, s.diagnostics
	}
	return l, files, s.diagnostics
}

// useClientSecret keeps what a provider knows serai by.
func useClientSecret(to *atomic.Pointer[string]) secret.Use {
	return func(content []byte) (warning string, err error) {
		known := string(bytes.TrimSpace(content))
		switch {
		case content != nil && known == "":
			return "", errors.New("there is no secret in it")
		case len(known) > maxLoginSecret:
			return "", fmt.Errorf("it has more than %d bytes", maxLoginSecret)
		}
		to.Store(&known)
		return "", nil
	}
}

// useCookieKeys keeps the keys that seal cookies.
func useCookieKeys(to *atomic.Pointer[oidc.Keys]) secret.Use {
	return func(content []byte) (warning string, err error) {
		if content == nil {
			to.Store(nil)
			return "", nil
		}
		if len(content) > maxLoginSecret {
			return "", fmt.Errorf("it has more than %d bytes", maxLoginSecret)
		}
		keys, err := oidc.ParseKeys(content)
		if err == nil {
			to.Store(keys.After(to.Load(), time.Now()))
		}
		return "", err
	}
}

// readAuthorities reads ca_file, and returns the files that it has read.
func (n *namedBlocks) readAuthorities(s *blockSettings) (text string, files []string) {
	path := s.text("ca_file")
	if path == "" {
		return "", nil
	}
	content, err := n.files.whole(path, maxAuthorities)
	if err == nil && len(bytes.TrimSpace(content)) == 0 { // which would stand for those of the system
		err = errors.New("there is no certificate in it (PEM)")
	}
	if err != nil {
		s.wrong("ca_file", "cannot be used: "+err.Error())
	}
	return string(content), []string{path}
}

// providerOf returns the provider with these options: the one that is known already, with
// what it has said, where there is one.
func (n *namedBlocks) providerOf(o oidc.ProviderOptions) (*oidc.Provider, error) {
	p, err := oidc.NewProvider(o)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(n.providers, p.Same); i >= 0 {
		return n.providers[i], nil
	}
	n.providers = append(n.providers, p)
	return p, nil
}

// providersOf returns those where the users of the auths log in.
func (n *namedBlocks) providersOf() (all []*oidc.Provider) {
	for _, a := range n.auths {
		if l, ok := a.Check.(*oidc.Login); ok && !slices.Contains(all, l.Provider()) {
			all = append(all, l.Provider())
		}
	}
	return all
}

// answeredTwice reports that another auth answers a path of l's: a route may name both, and
// a path has one answer.
func (n *namedBlocks) answeredTwice(l *oidc.Login) (string, bool) {
	for _, a := range n.auths {
		other, ok := a.Check.(*oidc.Login)
		if !ok {
			continue
		}
		for _, path := range l.Answers() {
			if slices.Contains(other.Answers(), path) {
				return fmt.Sprintf("auth %q answers %s, too", a.Name, path), true
			}
		}
	}
	return "", false
}

// loginProblems says what is wrong with the providers of the file's auths.
func (c *configFile) loginProblems() (why []string) {
	for _, a := range c.named.auths {
		if l, ok := a.Check.(*oidc.Login); ok {
			for _, problem := range l.Problems() {
				why = append(why, fmt.Sprintf("auth %s: something is wrong at its provider: %s", a.Name, problem))
			}
		}
	}
	return why
}

// blame notes an error that begins with the name of a setting, where that stands.
func (s *blockSettings) blame(err error) {
	name, why, _ := strings.Cut(err.Error(), " ")
	if name = strings.TrimSuffix(name, ":"); s.block.Body.Attributes[name] != nil {
		s.wrong(name, why)
		return
	}
	s.failed(err)
}
