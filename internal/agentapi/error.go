package agentapi

import (
	"errors"
	"fmt"
	"strings"
)

// Error is a failed request: what was tried, what came back, what is to blame and what to
// do. It never contains a token.
type Error struct {
	// Op is what the request does: `list services in namespace "shop"`.
	Op string
	// Method and Path are the ones sent, without the query. Method is empty where all
	// requests have the same.
	Method, Path string
	// Status is the HTTP status, 0 when there was no answer.
	Status int
	// Body is the beginning of the answer, made printable.
	Body string
	// Kind is one of the Err variables of the package whose request it was. It is nil when
	// the caller's context ended, and for other statuses.
	Kind error
	// Err is the cause below, if any: a context's error, a dial error.
	Err error
	// Advice says what to do about it.
	Advice string

	token *string // that was sent; nil or empty for none
}

// Hiding returns e, which never shows what is in token when its text is made.
func (e *Error) Hiding(token *string) *Error {
	e.token = token
	return e
}

// maxCause is how many bytes an error shows of its cause, which may quote an answer.
const maxCause = 500

// Error is one sentence: the request, what happened, what to do.
func (e *Error) Error() string {
	var parts []string
	sent := strings.TrimSpace(e.Method + " " + e.Path)
	switch {
	case e.Status != 0 && (e.Status < 200 || e.Status > 299):
		said := fmt.Sprintf("%s answered %d", sent, e.Status)
		if e.Body != "" {
			said += fmt.Sprintf(" %q", e.Body)
		}
		parts = append(parts, said)
	case e.Kind != nil:
		if !errors.Is(e.Err, e.Kind) { // which then says so
			parts = append(parts, e.Kind.Error())
		}
		if e.Status != 0 && e.Body != "" {
			parts = append(parts, fmt.Sprintf("%s answered %q", sent, e.Body))
		}
	}
	token := ""
	if e.token != nil {
		token = *e.token
	}
	if e.Err != nil {
		parts = append(parts, Shorten(Redact(e.Err.Error(), token), maxCause))
	}
	text := e.Op + ": " + strings.Join(parts, ": ")
	if e.Advice != "" {
		text += "; " + e.Advice
	}
	// Text from an agent can be in any part of this.
	return Redact(text, token)
}

// Unwrap lets errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Err} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
