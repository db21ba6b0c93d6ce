package main

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"serai/policy"
	"serai/policy/auth/oidc"
)

// The settings of an oidc block.
var (
	loginSettings = []string{
		"issuer", "client_id", "client_secret_file", "client_secret_variable", "cookie_key_file", "ca_file", "user_claim", "groups_claim", "user_field", "email_field", "groups_field",
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
// client_secret_variable = PATH, cookie_key_file = FILE, ... }.
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
	var files []string
	read := func(setting string, most int64, parse func([]byte) error) {
		path := s.text(setting)
		if path == "" {
			return
		}
		files = append(files, path)
		content, err := readWhole(path, most)
		if err == nil {
			err = parse(content)
		}
		if err != nil {
			s.wrong(setting, "cannot be used: "+err.Error())
		}
	}
	var known atomic.Pointer[string] // the client secret
	o.ClientSecret = func() string {
		if secret := known.Load(); secret != nil {
			return *secret
		}
		return ""
	}
	files = append(files, n.readSecret(name, s, "client_secret", func(content []byte) (warning string, err error) {
		secret := string(bytes.TrimSpace(content))
		switch {
		case content != nil && secret == "":
			return "", errors.New("there is no secret in it")
		case len(secret) > maxLoginSecret:
			return "", fmt.Errorf("it has more than %d bytes", maxLoginSecret)
		}
		known.Store(&secret)
		return "", nil
	})...)
	s.required("cookie_key_file")
	read("cookie_key_file", maxLoginSecret, func(content []byte) (err error) {
		o.Keys, err = oidc.ParseKeys(content)
		return err
	})
	read("ca_file", maxAuthorities, func(content []byte) error {
		if o.Roots = x509.NewCertPool(); !o.Roots.AppendCertsFromPEM(content) {
			return errors.New("there is no certificate in it (PEM)")
		}
		return nil
	})
	if s.diagnostics.HasErrors() {
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
