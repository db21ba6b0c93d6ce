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
	MaxConfig      int64 `name:"max-config-bytes" default:"16777216" help:"Bytes of the config file. Not to be set in it." group:"Limits"`
	MaxConfigFiles int64 `name:"max-config-file-bytes" default:"67108864" help:"Bytes of each file that the config file refers to, such as users_file." group:"Limits"`
	Networks       int   `name:"max-networks" default:"16384" help:"Addresses of one allow or deny in the config file, which may be those of a country: a lookup takes longer with their logarithm." group:"Limits"`
	Variables      int   `name:"max-secret-variables" default:"32" help:"Nomad variables that the config file names: watching each keeps one of the connections of which an agent grants a client a hundred." group:"Limits"`

	Rewrite int `name:"max-rewrite-bytes" default:"4096" help:"Bytes of a path that rewrite changes, before and after; 400 beyond. Less for a large expression." group:"Limits"`
	Made    int `name:"max-made-bytes" default:"8192" help:"Bytes that all placeholders of one message's request-set, or response-set, are replaced by; a field beyond is left out." group:"Limits"`

	PasswordCache         int      `name:"password-cache" default:"8192" help:"Passwords that were right and are remembered, a hundred bytes each; 0 for none." group:"Limits"`
	PasswordCacheTime     duration `name:"password-cache-time" default:"1m" help:"How long a password that was right is not computed again; 0 for not at all." group:"Limits"`
	PasswordChecks        int      `name:"password-checks" default:"0" help:"Passwords that are computed at once; 0 means half of the cores." group:"Limits"`
	PasswordWaiting       int      `name:"password-waiting" default:"256" help:"Passwords that wait to be computed; 503 beyond." group:"Limits"`
	PasswordClientWaiting int      `name:"password-client-waiting" default:"8" help:"Those of one client (IPv6: /64); 429 beyond." group:"Limits"`
	PasswordWait          duration `name:"password-wait" default:"5s" help:"How long one waits; 503 beyond." group:"Limits"`
	PasswordBytes         int      `name:"max-password-bytes" default:"512" help:"Bytes of a name and its password; 401 beyond. The time that some hashes take grows with the square." group:"Limits"`

	AuthAnswer int `name:"max-auth-answer-bytes" default:"65536" help:"Bytes of the head, and of the body, of an answer of the service that a forward auth asks; 503 beyond." group:"Limits"`

	KeySet       int64    `name:"max-key-set-bytes" default:"262144" help:"Bytes of a document with the keys of an issuer of tokens; the keys of before stay beyond." group:"Limits"`
	UnknownKey   duration `name:"unknown-key-time" default:"1m" help:"How often tokens with an unknown key may have the keys of their issuer fetched." group:"Limits"`
	KeyWaiting   int      `name:"key-waiting" default:"256" help:"Requests of one jwt auth that wait for keys, a quarter of them from one client; 503 or 429 beyond." group:"Limits"`
	ForwardBytes int      `name:"max-forwarded-claims-bytes" default:"8192" help:"Bytes of all claims of a token that an instance is told, one claim half of them; 401 beyond." group:"Limits"`

	OIDCAnswer     int64    `name:"max-oidc-answer-bytes" default:"262144" help:"Bytes of an answer of an OpenID provider; it counts as away beyond." group:"Limits"`
	OIDCLogouts    int      `name:"oidc-logouts" default:"65536" help:"Sessions that were logged out of on this node and are remembered, a hundred bytes each; the oldest make room." group:"Limits"`
	OIDCLogins     int      `name:"oidc-logins" default:"8192" help:"Logins that have come back to this node and are remembered, so that none comes back twice; the oldest make room." group:"Limits"`
	OIDCRenewals   int      `name:"oidc-renewals" default:"2048" help:"Sessions that are being renewed on this node, or were a moment ago, up to 16 KiB each; others are renewed later." group:"Limits"`
	OIDCClients    int      `name:"oidc-clients" default:"4096" help:"Clients whose --oidc-client-rate is counted; those beyond are counted together." group:"Limits"`
	OIDCClientRate int      `name:"oidc-client-rate" default:"10" help:"Logins a second that one client may bring back, and ten times as many at once; 429 beyond." group:"Limits"`
	OIDCRate       int      `name:"oidc-rate" default:"100" help:"Those of all clients, and five times as many at once." group:"Limits"`
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
