package nomad

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// What can be wrong, for errors.Is. An *Error is at most one of them.
var (
	// ErrUnreachable: no complete answer came, or none in time.
	ErrUnreachable = errors.New("nomad agent unreachable")
	// ErrTokenRefused: the token is missing, unknown or expired (401, or 403
	// with a word about the token).
	ErrTokenRefused = errors.New("token refused")
	// ErrForbidden: the token is known or none is needed to say so, but it
	// lacks a capability. It is also the meaning of a list of `*` that is
	// empty at index 0, which is how an agent refuses that list.
	ErrForbidden = errors.New("permission denied")
	// ErrNotFound: an agent said that a variable does not exist. A 404 of
	// something that is no agent is ErrBadAnswer.
	ErrNotFound = errors.New("not found")
	// ErrConflict: a check-and-set or a lock met a newer version or another
	// holder.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable: the agent answered that it cannot (429, 5xx), for
	// instance while the servers have no leader.
	ErrUnavailable = errors.New("nomad unavailable")
	// ErrBadAnswer: what answered makes no sense: a redirect, a web page,
	// truncated or wrongly typed JSON, too many bytes.
	ErrBadAnswer = errors.New("bad answer")
	// ErrStreamRefused: the stream was answered 200 and then ended without a
	// heartbeat, which is how an agent refuses a subscription.
	ErrStreamRefused = errors.New("event stream refused")
	// ErrStreamSilent: no heartbeat where one was due, at the start or later.
	ErrStreamSilent = errors.New("event stream silent")
	// ErrStreamEnded: the agent ended a stream that was up: we were too slow,
	// the token or a policy changed, or the agent stopped.
	ErrStreamEnded = errors.New("event stream ended")
)

// Error is a request that failed: what was tried, what came back, whose fault
// it is and what to do. It never contains a token.
type Error struct {
	// Op is the act in words: `list services in namespace "shop"`.
	Op string
	// Method and Path are what was sent, without query.
	Method, Path string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Body is the beginning of what was answered, made printable.
	Body string
	// Kind is one of the Err variables of this package. It is nil when the
	// caller's context ended, and for statuses that fit none.
	Kind error
	// Err is the cause below, if any: a context's error, a dial error.
	Err error
	// Advice says what to do about it.
	Advice string
}

// Error is one sentence: the act, what happened, what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	b.WriteString(": ")
	switch {
	case e.Status != 0 && (e.Status < 200 || e.Status > 299):
		fmt.Fprintf(&b, "%s %s answered %d", e.Method, e.Path, e.Status)
		if e.Body != "" {
			fmt.Fprintf(&b, " %q", e.Body)
		}
	case e.Kind != nil:
		b.WriteString(e.Kind.Error())
		if e.Status != 0 && e.Body != "" {
			fmt.Fprintf(&b, ": %s %s answered %q", e.Method, e.Path, e.Body)
		}
	}
	if e.Err != nil {
		if !strings.HasSuffix(b.String(), ": ") {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	if e.Advice != "" {
		b.WriteString("; ")
		b.WriteString(e.Advice)
	}
	return b.String()
}

// Unwrap makes errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	if e.Kind != nil {
		errs = append(errs, e.Kind)
	}
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	return errs
}

// kindOf reads an answer that is no success.
func kindOf(status int, body string) (kind error, advice string) {
	switch {
	case status == 401:
		return ErrTokenRefused, "no token was sent or it was not understood: give the task an identity with env = true or file = true, or set NOMAD_TOKEN"
	case status == 403 && mentionsToken(body):
		return ErrTokenRefused, "the token is unknown or expired: renew NOMAD_TOKEN, or use a workload identity, which renews itself"
	case status == 403:
		return ErrForbidden, "the token lacks a capability for this: add it to the policy of serai's job, or the token is unknown"
	case status == 409:
		return ErrConflict, ""
	case status == 429:
		return ErrUnavailable, "the agent limits requests: raise limits.http_max_conns_per_client or wait"
	case strings.Contains(body, "No cluster leader"), strings.Contains(body, "Not ready to serve consistent reads"):
		return ErrUnavailable, "the servers are electing a leader: it passes, or a majority of them is down"
	case status >= 500:
		return ErrUnavailable, "the agent's log says why"
	case status < 300:
		return ErrBadAnswer, ""
	case status < 400:
		return ErrBadAnswer, "the address leads to something that redirects: NOMAD_ADDR must be the agent's own address and scheme"
	case status == 404 && strings.Contains(body, "variable not found"):
		return ErrNotFound, ""
	case status == 404:
		return ErrBadAnswer, "no Nomad agent would answer that: check NOMAD_ADDR"
	case status == 400 && strings.Contains(body, "HTTP request to an HTTPS server"):
		return ErrBadAnswer, "the agent speaks TLS: write https:// in NOMAD_ADDR"
	}
	return nil, ""
}

func mentionsToken(body string) bool {
	return strings.Contains(body, "ACL token not found") ||
		strings.Contains(body, "ACL token expired") ||
		strings.Contains(body, "ACL token is invalid")
}

// maxExcerpt is how many bytes of a strange answer an error shows.
const maxExcerpt = 200

// excerpt makes the beginning of an answer fit for a log line: short,
// printable, and without the token should something echo it.
func excerpt(b []byte, token string) string {
	s := string(b[:min(len(b), 16*maxExcerpt)])
	if token != "" {
		s = strings.ReplaceAll(s, token, "[token]")
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '.'
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxExcerpt {
		cut := maxExcerpt
		for cut > 0 && s[cut]&0xC0 == 0x80 {
			cut--
		}
		s = s[:cut] + "..."
	}
	return s
}
