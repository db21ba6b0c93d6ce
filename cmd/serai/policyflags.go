package main

import (
	"errors"
	"fmt"
	"time"

	"serai/policy/auth"
	"serai/policy/auth/oidc"
)

// policyFlags bound what the config file and its policies take. What is 0, as it is without
// the command line, is the default of the package that it is for.
type policyFlags struct {
	MaxConfig      int64 `name:"max-config-bytes" default:"16777216" help:"Bytes of the config file. Cannot be set in that file." group:"Limits"`
	MaxConfigFiles int64 `name:"max-config-file-bytes" default:"67108864" help:"Bytes of each file that the config file refers to, such as users_file." group:"Limits"`
	Networks       int   `name:"max-networks" default:"16384" help:"Networks of one allow or deny in the config file, enough for those of a country; the time of a lookup grows with their logarithm." group:"Limits"`
	Variables      int   `name:"max-secret-variables" default:"32" help:"Nomad variables that the config file may name; watching each needs one of the 100 connections that an agent allows a client." group:"Limits"`

	Rewrite int `name:"max-rewrite-bytes" default:"4096" help:"Bytes of a path that rewrite changes, before and after; 400 beyond. Less for a large expression." group:"Limits"`
	Made    int `name:"max-made-bytes" default:"8192" help:"Bytes that all placeholders in the request-set of one request, or the response-set of one response, expand to; a header beyond is left out." group:"Limits"`

	PasswordCache         int      `name:"password-cache" default:"8192" help:"Correct passwords that are cached, a hundred bytes each; 0 for none." group:"Limits"`
	PasswordCacheTime     duration `name:"password-cache-time" default:"1m" help:"How long a correct password is cached and its hash not computed again; 0 for not at all." group:"Limits"`
	PasswordChecks        int      `name:"password-checks" default:"0" help:"Password hashes that are computed at the same time; 0 means half of the cores." group:"Limits"`
	PasswordWaiting       int      `name:"password-waiting" default:"256" help:"Requests that may wait for their password hash to be computed; 503 beyond." group:"Limits"`
	PasswordClientWaiting int      `name:"password-client-waiting" default:"8" help:"Requests of one client (IPv6: /64) that may wait for their password hash to be computed; 429 beyond." group:"Limits"`
	PasswordWait          duration `name:"password-wait" default:"5s" help:"How long a request waits for its password hash to be computed; 503 beyond." group:"Limits"`
	PasswordBytes         int      `name:"max-password-bytes" default:"512" help:"Bytes of a user name and password; 401 beyond. The time for some hashes grows with the square of this." group:"Limits"`

	AuthAnswer int `name:"max-auth-answer-bytes" default:"65536" help:"Bytes of the head, and of the body, of a response of the service that a forward auth asks; 503 beyond." group:"Limits"`

	KeySet       int64    `name:"max-key-set-bytes" default:"262144" help:"Bytes of a document with signing keys (JWKS); a larger one is refused, and the last keys stay in use." group:"Limits"`
	UnknownKey   duration `name:"unknown-key-time" default:"1m" help:"Shortest time between two fetches of signing keys because of tokens with an unknown key." group:"Limits"`
	KeyWaiting   int      `name:"key-waiting" default:"256" help:"Requests of one jwt auth that may wait for signing keys, a quarter of them from one client; 503 or 429 beyond." group:"Limits"`
	ForwardBytes int      `name:"max-forwarded-claims-bytes" default:"8192" help:"Bytes of all claims of a token that are forwarded to an instance, half of them for one claim; 401 beyond." group:"Limits"`

	OIDCAnswer     int64    `name:"max-oidc-answer-bytes" default:"262144" help:"Bytes of a response of an OpenID provider; beyond, the provider counts as unavailable." group:"Limits"`
	OIDCLogouts    int      `name:"oidc-logouts" default:"65536" help:"Logged-out sessions that this node remembers, a hundred bytes each; the oldest make room." group:"Limits"`
	OIDCLogins     int      `name:"oidc-logins" default:"8192" help:"Completed logins that this node remembers, so that none is used twice; the oldest make room." group:"Limits"`
	OIDCRenewals   int      `name:"oidc-renewals" default:"2048" help:"Session renewals on this node that are in progress or have just ended, up to 16 KiB each; others are renewed later." group:"Limits"`
	OIDCClients    int      `name:"oidc-clients" default:"4096" help:"Clients that have an --oidc-client-rate of their own; those beyond share one." group:"Limits"`
	OIDCClientRate int      `name:"oidc-client-rate" default:"10" help:"Logins per second that one client may complete, and ten times as many in a burst; 429 beyond." group:"Limits"`
	OIDCRate       int      `name:"oidc-rate" default:"100" help:"Logins per second that all clients together may complete, and five times as many in a burst; 429 beyond." group:"Limits"`
	OIDCLoginTime  duration `name:"oidc-login-time" default:"15m" help:"How long a user may take to log in at a provider." group:"Limits"`
}

// defaultConfig bounds a config file, in bytes.
const defaultConfig = 16 << 20

// validate reports all that is wrong with the flags.
func (f *policyFlags) validate() error {
	var errs []error
	for _, l := range []struct {
		name       string
		value, low int64
	}{
		{"max-config-bytes", f.MaxConfig, 1}, {"max-config-file-bytes", f.MaxConfigFiles, 1}, {"max-networks", int64(f.Networks), 1}, {"max-secret-variables", int64(f.Variables), 1},
		{"max-rewrite-bytes", int64(f.Rewrite), 1}, {"max-made-bytes", int64(f.Made), 1}, {"password-cache", int64(f.PasswordCache), 0}, {"password-checks", int64(f.PasswordChecks), 0},
		{"password-waiting", int64(f.PasswordWaiting), 1}, {"password-client-waiting", int64(f.PasswordClientWaiting), 1}, {"max-password-bytes", int64(f.PasswordBytes), 2},
		{"max-auth-answer-bytes", int64(f.AuthAnswer), 1}, {"max-key-set-bytes", f.KeySet, 1}, {"key-waiting", int64(f.KeyWaiting), 1}, {"max-forwarded-claims-bytes", int64(f.ForwardBytes), 2},
		{"max-oidc-answer-bytes", f.OIDCAnswer, 1}, {"oidc-logouts", int64(f.OIDCLogouts), 1}, {"oidc-logins", int64(f.OIDCLogins), 1}, {"oidc-renewals", int64(f.OIDCRenewals), 1},
		{"oidc-clients", int64(f.OIDCClients), 1}, {"oidc-client-rate", int64(f.OIDCClientRate), 1}, {"oidc-rate", int64(f.OIDCRate), 1},
	} {
		if l.value < l.low {
			errs = append(errs, fmt.Errorf("--%s=%d is not at least %d", l.name, l.value, l.low))
		}
	}
	for _, l := range []struct {
		name  string
		value duration
	}{{"password-wait", f.PasswordWait}, {"unknown-key-time", f.UnknownKey}, {"oidc-login-time", f.OIDCLoginTime}} {
		if l.value.value() < time.Millisecond {
			errs = append(errs, fmt.Errorf("--%s wants more than 0", l.name))
		}
	}
	if f.PasswordBytes > 1<<20 {
		errs = append(errs, fmt.Errorf("--max-password-bytes=%d is more than %d", f.PasswordBytes, 1<<20))
	}
	return errors.Join(errs...)
}

// passwords are the flags as auth takes them. Those of no command line are the defaults.
func (f *policyFlags) passwords() auth.PasswordLimits {
	l := auth.PasswordLimits{
		Known: f.PasswordCache, KnownFor: f.PasswordCacheTime.value(), Checks: f.PasswordChecks, Waiting: f.PasswordWaiting,
		ClientWaiting: f.PasswordClientWaiting, Wait: f.PasswordWait.value(), Credentials: f.PasswordBytes,
	}
	if *f != (policyFlags{}) {
		l.Known, l.KnownFor = orNever(l.Known), orNever(l.KnownFor)
	}
	return l
}

func (f *policyFlags) tokens() auth.TokenLimits {
	return auth.TokenLimits{Waiting: f.KeyWaiting, Forwarded: f.ForwardBytes}
}

func (f *policyFlags) logins() oidc.Limits {
	return oidc.Limits{
		Revoked: f.OIDCLogouts, Used: f.OIDCLogins, Renewals: f.OIDCRenewals, Clients: f.OIDCClients,
		ClientRate: f.OIDCClientRate, Rate: f.OIDCRate, LoginTime: f.OIDCLoginTime.value(),
	}
}
