package oidc

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"serai/policy/auth"
	"serai/wire"
)

// Options is an oidc block. Zero values mean the defaults named.
type Options struct {
	// Issuer is the provider's URL, exactly as it names itself. Required.
	Issuer string
	// ClientID and ClientSecret are what the provider knows serai by. Required. The
	// secret may change at any time; while it is empty, the provider cannot be asked.
	ClientID     string
	ClientSecret func() string
	// Keys seal cookies. Required. They may change at any time; while they are nil, nobody
	// gets in.
	Keys func() *Keys
	// Scopes are asked for, profile and email by default; openid always is.
	Scopes []string
	// Parameters are more of the authorization request, each NAME=VALUE.
	Parameters []string
	// Groups are those of whom a user must be in one; nil lets all users in.
	Groups []string
	// UserClaim and GroupsClaim are what is read of a user, sub and groups by default.
	UserClaim, GroupsClaim string
	// UserField, EmailField and GroupsField are the fields in which the instance is told
	// of the user: X-Forwarded-User, -Email and -Groups by default.
	UserField, EmailField, GroupsField string
	// CallbackPath and LogoutPath are answered here on each host with the auth:
	// /.serai/oidc/NAME/callback and .../logout by default.
	CallbackPath, LogoutPath string
	// LogoutRedirect is where a browser goes after a logout: a path of the host, or a URL.
	// Empty leaves it where the provider leads.
	LogoutRedirect string
	// Lifetime bounds a session, 12h. After Renew, 15m, the provider is asked again; when
	// it cannot be reached, the session goes on for Stale, 1h.
	Lifetime, Renew, Stale time.Duration
	// Timeout bounds each request to the provider, 5s.
	Timeout time.Duration
	// MaxInflight bounds those under way, 64; one client has a quarter of them.
	MaxInflight int
	// Provider is the provider, which other Logins may have, too; nil for one that only
	// this Login has, with a certificate that the system's CAs have signed.
	Provider *Provider
	// Insecure allows plain HTTP, to the provider and from browsers.
	Insecure bool
}

// Bounds of options.
const (
	longestLifetime = 30 * 24 * time.Hour
	longestTimeout  = 30 * time.Second
	mostInflight    = 10_000
)

// reservedParameters are those of the authorization request that serai makes.
var reservedParameters = []string{
	"client_id", "client_secret", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "request", "request_uri",
	"response_mode", "response_type", "scope", "state",
}

// setDefaults sets what is not given, for the policy of that name.
func (o *Options) setDefaults(name string) {
	set := func(v *string, d string) {
		if *v == "" {
			*v = d
		}
	}
	set(&o.UserClaim, "sub")
	set(&o.GroupsClaim, "groups")
	set(&o.UserField, "X-Forwarded-User")
	set(&o.EmailField, "X-Forwarded-Email")
	set(&o.GroupsField, "X-Forwarded-Groups")
	set(&o.CallbackPath, "/.serai/oidc/"+name+"/callback")
	set(&o.LogoutPath, "/.serai/oidc/"+name+"/logout")
	if o.Scopes == nil {
		o.Scopes = []string{"profile", "email"}
	}
	if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	last := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	last(&o.Lifetime, 12*time.Hour)
	last(&o.Renew, min(15*time.Minute, o.Lifetime))
	last(&o.Stale, min(time.Hour, o.Lifetime))
	last(&o.Timeout, 5*time.Second)
	if o.MaxInflight == 0 {
		o.MaxInflight = 64
	}
}

// check returns what is wrong with the options, in words that begin with the setting.
func (o *Options) check() error {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("issuer is not a URL with https, without a query or a fragment")
	case u.User != nil:
		return errors.New("issuer contains a user or a password: it would be shown where the policy is explained")
	case u.Scheme == "http" && !o.Insecure:
		return errors.New("issuer is plain http: whoever is on the way could log in as anybody; use https, or insecure = true where nobody else is")
	case o.ClientID == "" || !visible(o.ClientID):
		return errors.New("client_id is empty, or contains blanks or control characters")
	case o.ClientSecret == nil:
		return errors.New("client_secret_file or client_secret_variable is missing")
	case o.Keys == nil:
		return errors.New("cookie_key_file or cookie_key_variable is missing")
	}
	for _, scope := range o.Scopes {
		if !visible(scope) || strings.ContainsAny(scope, `"\`) { // RFC 6749 section 3.3
			return fmt.Errorf("scopes: %q is no scope", scope)
		}
	}
	for _, p := range o.Parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" || value == "" || slices.Contains(reservedParameters, name) {
			return fmt.Errorf("parameters: %q is not NAME=VALUE, or one of those that serai makes itself: %s", p, strings.Join(reservedParameters, ", "))
		}
	}
	return errors.Join(o.checkFields(), o.checkPaths(), o.checkBounds())
}

func (o *Options) checkFields() error {
	fields := []string{o.UserField, o.EmailField, o.GroupsField}
	for i, setting := range []string{"user_field", "email_field", "groups_field"} {
		if err := auth.Settable(fields[i]); err != nil || strings.EqualFold(fields[i], "authorization") {
			return fmt.Errorf("%s: %q is no field that could have it; want X-Forwarded-User, or the like", setting, fields[i])
		}
		for _, other := range fields[:i] {
			if wire.Resembles([]byte(fields[i]), other) {
				return fmt.Errorf("%s: %q is the field of something else, too", setting, fields[i])
			}
		}
	}
	for _, g := range o.Groups {
		if g == "" {
			return errors.New("groups: a name is empty")
		}
	}
	return nil
}

func (o *Options) checkPaths() error {
	for _, p := range []struct{ setting, path string }{{"callback_path", o.CallbackPath}, {"logout_path", o.LogoutPath}} {
		if !ownPath(p.path) {
			return fmt.Errorf("%s: %q is no path of at most 128 letters, digits and - . _ ~ / that begins with a slash", p.setting, p.path)
		}
	}
	if o.CallbackPath == o.LogoutPath {
		return errors.New("logout_path is callback_path, too")
	}
	if o.LogoutRedirect == "" {
		return nil
	}
	if u, err := url.Parse(o.LogoutRedirect); !visible(o.LogoutRedirect) || err != nil ||
		!localTarget(o.LogoutRedirect) && (u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !o.Insecure)) {
		return fmt.Errorf("logout_redirect: %q is no path that begins with a slash, and no URL with https", o.LogoutRedirect)
	}
	return nil
}

// ownPath reports whether a path can be read in one way only.
func ownPath(path string) bool {
	if len(path) > 128 || path[0] != '/' {
		return false
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/") == ""
}

func (o *Options) checkBounds() error {
	switch {
	case o.Lifetime < time.Second || o.Lifetime > longestLifetime:
		return errors.New("lifetime is not between 1s and 720h")
	case o.Renew < time.Second || o.Renew > o.Lifetime:
		return errors.New("renew is not between 1s and lifetime")
	case o.Stale < 0 || o.Stale > o.Lifetime:
		return errors.New("stale is not between 0 and lifetime")
	case o.Timeout < 0 || o.Timeout > longestTimeout:
		return errors.New("timeout is not between 0 and 30s")
	case o.MaxInflight < 1 || o.MaxInflight > mostInflight:
		return fmt.Errorf("max_inflight is not between 1 and %d", mostInflight)
	}
	return nil
}

// visible reports whether s has characters that are seen in ASCII, and no others.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}
