package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"serai/policy/auth/keys"
)

// JWTOptions is a jwt block. Zero values mean the defaults named.
type JWTOptions struct {
	// Issuer is what the iss of a token must be. Required.
	Issuer string
	// Audience are what its aud may name. Required unless AnyAudience is set.
	Audience    []string
	AnyAudience bool
	// Algorithms are those that it may be signed with.
	Algorithms keys.Algorithms
	// Types are what its typ may be, in any case; JWT and at+jwt by default. One without
	// typ is accepted as well, unless they are given.
	Types []string
	// Claims are what it must claim, all of them.
	Claims []Claim
	// Forward are the fields in which the instance is told claims.
	Forward []ForwardedClaim
	// Header or Cookie is where the token is, in place of Authorization.
	Header, Cookie string
	// Realm is what clients are told, the policy's name by default.
	Realm string
	// Strip keeps the field that has the token from the instance.
	Strip bool
	// ClockSkew is by how much the clocks of the issuer and of this machine may differ,
	// 60s.
	ClockSkew time.Duration
	// MaxToken bounds a token, in bytes, 8192.
	MaxToken int
}

// ForwardedClaim is a field in which the instance is told a claim.
type ForwardedClaim struct{ Field, Claim string }

// Bounds of JWTOptions.
const (
	minMaxToken  = 256
	maxMaxToken  = 64 << 10
	maxClockSkew = 5 * time.Minute
	mostClaims   = 32
)

// check fills in the defaults.
func (o *JWTOptions) check(name string) error {
	if o.Realm == "" {
		o.Realm = name
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms, _ = keys.ParseAlgorithms(nil)
	}
	if o.ClockSkew == 0 {
		o.ClockSkew = time.Minute
	}
	if o.MaxToken == 0 {
		o.MaxToken = 8 << 10
	}
	switch {
	case o.Issuer == "":
		return errors.New("issuer is missing")
	case o.AnyAudience && len(o.Audience) > 0:
		return errors.New("audience and any_audience exclude each other")
	case !o.AnyAudience && len(o.Audience) == 0:
		return errors.New("audience is missing: without it, tokens that the issuer made for others would do. Where they may, say any_audience = true")
	case slices.Contains(o.Audience, ""):
		return errors.New("audience has an empty name")
	case slices.Contains(o.Types, ""):
		return errors.New("types has an empty name")
	case !printableValue(o.Realm):
		return errors.New("the realm contains control characters, or begins or ends with a blank")
	case o.ClockSkew < 0 || o.ClockSkew > maxClockSkew:
		return fmt.Errorf("clock_skew is not between 0 and %s", maxClockSkew)
	case o.MaxToken < minMaxToken || o.MaxToken > maxMaxToken:
		return fmt.Errorf("max_token is not between %d and %d", minMaxToken, maxMaxToken)
	case len(o.Claims) > mostClaims || len(o.Forward) > mostClaims:
		return fmt.Errorf("more than %d claims", mostClaims)
	}
	return nil
}

func (j *JWT) readForward() error {
	for _, f := range j.options.Forward {
		if err := Settable(f.Field); err != nil {
			return err
		}
		if strings.EqualFold(f.Field, "authorization") || strings.EqualFold(f.Field, j.source.header) {
			return fmt.Errorf("%q is the field that may have the token", f.Field)
		}
		if j.owned.Has([]byte(f.Field)) {
			return fmt.Errorf("%q is given twice", f.Field)
		}
		path, err := parseClaimPath(f.Claim)
		if err != nil {
			return err
		}
		j.owned = append(j.owned, f.Field)
		j.forward = append(j.forward, forwardedClaim{[]byte(f.Field), path})
	}
	return nil
}
