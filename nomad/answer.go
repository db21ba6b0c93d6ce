package nomad

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"serai/internal/agentapi"
)

// doInParts is do for an answer that is read as it arrives.
func (c *Client) doInParts(ctx context.Context, r *request, read func(http.Header, *agentapi.Reader) error) error {
	err := c.answered(ctx, r, func(ctx context.Context, res *http.Response) error {
		return c.inParts(ctx, r, res, read)
	})
	c.report(ctx, r.kind, err)
	return err
}

// inParts calls read with the body of an answer. All its errors are *Error.
func (c *Client) inParts(ctx context.Context, r *request, res *http.Response, read func(http.Header, *agentapi.Reader) error) error {
	if res.StatusCode < 200 || res.StatusCode > 299 {
		_, err := c.whole(ctx, r, res)
		return err
	}
	var a *agentapi.Reader
	if r.most > 0 {
		a = agentapi.NewReader(&limited{res.Body, r.most, r.most}, int(r.most))
	} else {
		a = agentapi.NewReader(res.Body, agentapi.MaxText)
	}
	err := read(res.Header, a)
	if known := (*Error)(nil); err == nil || errors.As(err, &known) {
		return err
	}
	switch broken := a.Broken(); {
	case errors.Is(err, ErrTooLong), errors.Is(broken, ErrTooLong), errors.Is(broken, agentapi.ErrGap):
		return c.tooLong(r, res.StatusCode, cmp.Or(broken, err))
	case broken != nil:
		return c.unread(ctx, r, res.StatusCode, broken)
	}
	return c.undecoded(r, a.Begin(), a.Why(err))
}

// limited reads so many bytes, and is ErrTooLong where more follow.
type limited struct {
	io.Reader
	left, most int64
}

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w, %d bytes", ErrTooLong, l.most)
	}
	return n, err
}

// exchange sends r and returns the header and the whole body of a 2xx answer, and those
// of a 409 with its error.
func (c *Client) exchange(ctx context.Context, r *request) (header http.Header, body []byte, err error) {
	err = c.answered(ctx, r, func(ctx context.Context, res *http.Response) (err error) {
		header = res.Header
		body, err = c.whole(ctx, r, res)
		return err
	})
	return header, body, err
}

// answered sends r and calls read with the answer.
func (c *Client) answered(ctx context.Context, r *request, read func(context.Context, *http.Response) error) error {
	limit := c.options.Limits.Request + r.wait
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w (%v)", errTooLate, limit))
	defer cancel()
	res, err := c.send(ctx, r, "")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return read(ctx, res)
}

// whole reads the body of an answer. One with an error status is an error, too.
func (c *Client) whole(ctx context.Context, r *request, res *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, c.options.Limits.Answer+1))
	switch {
	case err != nil:
		return nil, c.unread(ctx, r, res.StatusCode, err)
	case int64(len(body)) > c.options.Limits.Answer:
		return nil, c.tooLong(r, res.StatusCode, fmt.Errorf("%w, %d bytes", ErrTooLong, c.options.Limits.Answer))
	case res.StatusCode < 200 || res.StatusCode > 299:
		return body, c.refused(r, res.StatusCode, body)
	}
	return body, nil
}

func (c *Client) tooLong(r *request, status int, err error) *Error {
	e := r.fail(ErrBadAnswer, status, err)
	e.Advice = "does NOMAD_ADDR lead to an agent? Then its answer is larger than serai accepts"
	return e
}

// refused is the error of an answer with an error status.
func (c *Client) refused(r *request, status int, body []byte) *Error {
	e := r.fail(nil, status, nil)
	e.Body = excerpt(body, r.token)
	e.Advice, e.Kind = kindOf(status, e.Body)
	if advice := c.token.Advice(); advice != "" && (e.Kind == ErrTokenRefused || e.Kind == ErrForbidden) {
		e.Advice = advice
	}
	if t := bytes.TrimSpace(body); e.Kind == ErrConflict && len(t) > 0 && t[0] == '{' {
		// The body is the current variable, with its secrets: for the caller, not for
		// the log.
		e.Body = ""
	}
	return e
}

// decode reads a JSON answer into out, which is a pointer to a slice or struct.
func (c *Client) decode(r *request, body []byte, out any) error {
	if err := agentapi.Decode(body, out); err != nil {
		return c.undecoded(r, body, err)
	}
	return nil
}

// undecoded is the error of a JSON answer that cannot be read.
func (c *Client) undecoded(r *request, body []byte, err error) *Error {
	e := r.fail(ErrBadAnswer, http.StatusOK, err)
	e.Body, e.Advice = excerpt(body, r.token), adviceStranger
	if agentapi.IsPage(body) {
		e.Advice = "that is a web page: NOMAD_ADDR must be the agent's own address"
	}
	return e
}

// insane is the error of an answer that decodes but cannot be true.
func insane(r *request, format string, args ...any) *Error {
	e := r.fail(ErrBadAnswer, http.StatusOK, fmt.Errorf(format, args...))
	e.Advice = adviceStranger
	return e
}
