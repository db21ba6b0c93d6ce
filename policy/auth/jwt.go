package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"serai/internal/quota"
	"serai/policy"
	"serai/policy/auth/keys"
	"serai/wire"
)

// JWT asks for a token that an issuer has signed (RFC 7519, RFC 6750).
type JWT struct {
	name       string
	options    JWTOptions
	types      []string
	source     tokenSource
	claims     []*requiredClaim
	forward    []forwardedClaim
	owned      policy.Names
	challenges [numOutcomes]wire.Field

	keys     keys.Source
	tokens   *Tokens
	serial   uint64
	set      atomic.Pointer[keys.Set] // of the tokens that are kept
	closed   atomic.Bool
	counts   *tokenCounts
	awaiting *Places
}

type forwardedClaim struct {
	field []byte
	path  claimPath
}

var _ policy.Owner = (*JWT)(nil)

// NewJWT makes the policy of that name.
func NewJWT(name string, o JWTOptions, source keys.Source, tokens *Tokens) (*JWT, error) {
	if err := o.check(name); err != nil {
		return nil, err
	}
	if _, remote := source.(*keys.Remote); remote && o.Algorithms.Secret() {
		return nil, errors.New("algorithms: a secret is not fetched from a server; HS256 and the like need jwks_file")
	}
	j := &JWT{
		name: name, options: o, keys: source, tokens: tokens, serial: tokens.serial.Add(1), counts: tokens.countsOf(name),
		challenges: challenges(o.Realm), awaiting: NewPlaces(tokens.limits.Waiting, errAsks, errClientAsks),
	}
	for _, t := range o.Types {
		j.types = append(j.types, strings.TrimPrefix(strings.ToLower(t), "application/"))
	}
	if len(j.types) == 0 {
		j.types = []string{"", "jwt", "at+jwt"}
	}
	for _, c := range o.Claims {
		required, err := newRequiredClaim(c)
		if err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		j.claims = append(j.claims, required)
	}
	var err error
	if j.source, err = newTokenSource(o.Header, o.Cookie); err != nil {
		return nil, err
	}
	if err := j.readForward(); err != nil {
		return nil, fmt.Errorf("forward: %w", err)
	}
	if o.Strip {
		if o.Cookie != "" {
			return nil, errors.New("keep: a cookie is not taken out of the field where the others are")
		}
		j.owned = append(j.owned, j.source.field())
	}
	return j, nil
}

// Waiting returns how many requests wait for keys, and how many may.
func (j *JWT) Waiting() (now, most int) { return j.awaiting.Now() }

// Keys returns where its keys come from.
func (j *JWT) Keys() keys.Source { return j.keys }

// Close forgets the tokens that were right.
func (j *JWT) Close() {
	j.closed.Store(true)
	j.tokens.forget(j, nil)
}

// Request implements policy.RequestPolicy.
func (j *JWT) Request(r policy.Request, reply *policy.Reply) (answered bool) {
	token, o := j.source.find(r.Received().Fields)
	if o == tokenVerified && len(token) > j.options.MaxToken {
		o = tokenLong
	}
	if o != tokenVerified {
		return j.refuse(reply, o)
	}
	now := time.Now()
	set := j.keys.Current()
	if last := j.set.Load(); last != set && j.set.CompareAndSwap(last, set) {
		j.tokens.forget(j, set)
	}
	d := j.tokens.digest(j.serial, token)
	v := j.tokens.find(d, set, now)
	if v != nil {
		j.counts[tokenKnown].Add(1)
	} else {
		var err error
		if v, err = j.verify(string(token), r, now); err != nil {
			return j.failed(reply, err)
		}
		j.counts[tokenVerified].Add(1)
		if !j.closed.Load() {
			j.tokens.keep(d, v, now)
		}
	}
	learned := r.Learned()
	learned.Forget(j.owned)
	learned.Forward = append(learned.Forward, v.fields...)
	return false
}

// refuse answers that the token is not accepted, and why.
func (j *JWT) refuse(reply *policy.Reply, o outcome) (answered bool) {
	j.counts[o].Add(1)
	reply.Status, reply.Reason, reply.Detail = outcomes[o].status, "auth-required", outcomes[o].detail
	switch reply.Status {
	case 403:
		reply.Reason = "auth-denied"
	case 503:
		reply.Reason = "auth-unavailable"
		return true
	}
	reply.Fields = append(reply.Fields, j.challenges[o])
	return true
}

// failed answers for a token that could not be verified.
func (j *JWT) failed(reply *policy.Reply, err error) (answered bool) {
	if o := outcomeOf(err); o != tokenBusy {
		return j.refuse(reply, o)
	}
	j.counts[tokenBusy].Add(1)
	return busy(reply, err)
}

// verify checks a token.
func (j *JWT) verify(text string, r policy.Request, now time.Time) (*verified, error) {
	t, err := keys.Verify(j.keys, text, j.options.Algorithms, func(f func(gone <-chan struct{})) error { return j.await(r, f) })
	if err != nil {
		return nil, err
	}
	if !slices.Contains(j.types, t.Type) {
		return nil, tokenError(tokenType)
	}
	until, err := j.checkClaims(t.Claims, now)
	if err != nil {
		return nil, err
	}
	fields, err := j.fields(t.Claims)
	if err != nil {
		return nil, err
	}
	return &verified{by: j, set: t.Set, until: until, fields: fields}, nil
}

// await waits for keys, where not too many do so already.
func (j *JWT) await(r policy.Request, f func(gone <-chan struct{})) error {
	leave, err := j.awaiting.Enter(quota.ClientOf(r.ClientAddr()))
	if err != nil {
		return err
	}
	defer leave()
	left := false
	r.Wait(func(gone <-chan struct{}) {
		f(gone)
		select {
		case <-gone:
			left = true
		default:
		}
	})
	if left {
		return errGone
	}
	return nil
}

// checkClaims checks what a token says, and returns until when it is accepted.
func (j *JWT) checkClaims(claims map[string]any, now time.Time) (until time.Time, err error) {
	if issuer, _ := claims["iss"].(string); issuer != j.options.Issuer {
		return until, tokenError(tokenIssuer)
	}
	if err := j.checkAudience(claims["aud"]); err != nil {
		return until, err
	}
	if _, has := claims["exp"]; !has {
		return until, tokenError(tokenNoExpiry)
	}
	expires, ok := numericDate(claims["exp"])
	if !ok {
		return until, tokenError(tokenMalformed)
	}
	if until = expires.Add(j.options.ClockSkew); !now.Before(until) {
		return until, tokenError(tokenExpired)
	}
	for _, name := range []string{"nbf", "iat"} {
		v, has := claims[name]
		if !has {
			continue
		}
		from, ok := numericDate(v)
		if !ok {
			return until, tokenError(tokenMalformed)
		}
		if now.Add(j.options.ClockSkew).Before(from) {
			return until, tokenError(tokenEarly)
		}
	}
	for _, c := range j.claims {
		if !c.met(claims) {
			return until, tokenError(tokenClaims)
		}
	}
	return until, nil
}

// checkAudience checks aud, which is a string or a list of strings (RFC 7519 section
// 4.1.3).
func (j *JWT) checkAudience(aud any) error {
	if j.options.AnyAudience {
		return nil
	}
	list, isList := aud.([]any)
	if !isList {
		list = []any{aud}
	}
	for _, v := range list {
		if name, _ := v.(string); name != "" && slices.Contains(j.options.Audience, name) {
			return nil
		}
	}
	return tokenError(tokenAudience)
}

// latest is the end of the year 9999, in seconds.
const latest = 253402300799

// numericDate reads seconds since 1970, which may have a fraction (RFC 7519 section 2).
func numericDate(v any) (t time.Time, ok bool) {
	n, isNumber := v.(json.Number)
	seconds, err := n.Float64()
	if !isNumber || err != nil || !(seconds >= 0 && seconds <= latest) {
		return t, false
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), true
}

// fields makes the fields that tell the instance claims.
func (j *JWT) fields(claims map[string]any) (fields []wire.Field, err error) {
	all, most := 0, j.tokens.limits.Forwarded
	for _, f := range j.forward {
		value := claimValue(f.path.in(claims))
		if value == "" {
			continue
		}
		if all += len(value); len(value) > most/2 || all > most {
			return nil, tokenError(tokenUnsendable)
		}
		fields = append(fields, wire.Field{Name: f.field, Value: []byte(value)})
	}
	return fields, nil
}

// Owns implements policy.Owner.
func (j *JWT) Owns() policy.Names { return j.owned }

// Explain implements policy.Policy.
func (j *JWT) Explain() string {
	line := fmt.Sprintf("auth: %s asks for a token of %s", j.name, printable(j.options.Issuer))
	if len(j.options.Audience) > 0 {
		line += " for " + printable(strings.Join(j.options.Audience, " or "))
	}
	if remote, ok := j.keys.(*keys.Remote); ok {
		line += ", with keys from " + remote.Server()
	}
	for _, c := range j.claims {
		line += fmt.Sprintf("; %s: %s", printable(c.Name), printable(strings.Join(c.Values, " or ")))
	}
	for i, f := range j.options.Forward {
		if i == 0 {
			line += "; forwards"
		}
		line += fmt.Sprintf(" %s as %s", printable(f.Claim), f.Field)
	}
	return line
}

// printable is a text of the operator's in one line.
func printable(s string) string { return strings.Trim(fmt.Sprintf("%q", s), `"`) }
