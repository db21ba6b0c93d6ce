package auth

import (
	"errors"
	"sync/atomic"

	"serai/policy/auth/keys"
	"serai/wire"
)

// outcome is what becomes of a request that must bring a token.
type outcome uint8

const (
	tokenVerified outcome = iota
	tokenKnown            // verified before
	tokenMissing
	tokenTwice
	tokenLong
	tokenMalformed
	tokenAlgorithm
	tokenType
	tokenUnknownKey
	tokenSignature
	tokenIssuer
	tokenAudience
	tokenNoExpiry
	tokenExpired
	tokenEarly
	tokenUnsendable
	tokenClaims
	tokenUndecided
	tokenBusy
	numOutcomes
)

// outcomes has what is told of each: its label in the metrics, the status, and the error
// code of RFC 6750 section 3.1 with what is wrong. Nothing of the token is in it.
var outcomes = [numOutcomes]struct {
	label  string
	status int
	code   string
	detail string
}{
	tokenVerified:   {label: "verified"},
	tokenKnown:      {label: "known"},
	tokenMissing:    {"missing", 401, "", "this needs a token"},
	tokenTwice:      {"several", 400, "invalid_request", "there is more than one token"},
	tokenLong:       {"too-long", 401, "invalid_token", "the token is too long"},
	tokenMalformed:  {"malformed", 401, "invalid_token", "the token is malformed"},
	tokenAlgorithm:  {"algorithm", 401, "invalid_token", "the token is signed with an algorithm that is not accepted"},
	tokenType:       {"type", 401, "invalid_token", "the token is of a type that is not accepted"},
	tokenUnknownKey: {"unknown-key", 401, "invalid_token", "the token is signed with a key that is not known"},
	tokenSignature:  {"signature", 401, "invalid_token", "the signature of the token is wrong"},
	tokenIssuer:     {"issuer", 401, "invalid_token", "the token is of another issuer"},
	tokenAudience:   {"audience", 401, "invalid_token", "the token is for another audience"},
	tokenNoExpiry:   {"no-expiry", 401, "invalid_token", "the token does not say when it expires"},
	tokenExpired:    {"expired", 401, "invalid_token", "the token has expired"},
	tokenEarly:      {"early", 401, "invalid_token", "the token is not valid yet"},
	tokenUnsendable: {"unsendable", 401, "invalid_token", "a claim of the token is too long to be passed on"},
	tokenClaims:     {"claims", 403, "insufficient_scope", "the token does not claim what is needed here"},
	tokenUndecided:  {label: "undecided", status: 503, detail: "the signing keys for tokens are not known"},
	tokenBusy:       {label: "busy"},
}

// tokenError is an outcome as an error.
type tokenError outcome

func (e tokenError) Error() string { return outcomes[e].detail }

// outcomeOf returns the outcome that an error stands for.
func outcomeOf(err error) outcome {
	var e tokenError
	switch {
	case errors.As(err, &e):
		return outcome(e)
	case err == keys.ErrMalformed:
		return tokenMalformed
	case err == keys.ErrAlgorithm:
		return tokenAlgorithm
	case err == keys.ErrUnknownKey:
		return tokenUnknownKey
	case err == keys.ErrSignature:
		return tokenSignature
	case err == errGone, err == errClientAsks, err == errAsks:
		return tokenBusy
	}
	return tokenUndecided
}

// challenges makes what a client is told in WWW-Authenticate for each outcome (RFC 6750
// section 3).
func challenges(realm string) (all [numOutcomes]wire.Field) {
	for i, o := range outcomes {
		value := `Bearer realm="` + quoted(realm) + `"`
		if o.code != "" {
			value += `, error="` + o.code + `", error_description="` + o.detail + `"`
		}
		all[i] = wire.Field{Name: []byte("WWW-Authenticate"), Value: []byte(value)}
	}
	return all
}

// tokenCounts counts the tokens of an auth by outcome.
type tokenCounts [numOutcomes]atomic.Uint64

func (c *tokenCounts) byOutcome() map[string]uint64 {
	all := make(map[string]uint64, numOutcomes)
	for i := range c {
		all[outcomes[i].label] = c[i].Load()
	}
	return all
}
