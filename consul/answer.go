package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"serai/internal/agentapi"
)

// do sends r and calls read with a 2xx answer. Any other outcome is an *Error. The request
// counts as a success only if read returns nil.
func (c *Client) do(ctx context.Context, r *request, read func(http.Header, []byte) error) error {
	return c.report(ctx, r, c.answered(ctx, r, func(ctx context.Context, res *http.Response) error {
		body, err := c.whole(ctx, r, res)
		if err != nil {
			return err
		}
		return read(res.Header, body)
	}))
}

// doInParts is do for an answer that is read as it arrives.
func (c *Client) doInParts(ctx context.Context, r *request, read func(http.Header, *agentapi.Reader) error) error {
	return c.report(ctx, r, c.answered(ctx, r, func(ctx context.Context, res *http.Response) error {
		if res.StatusCode < 200 || res.StatusCode > 299 {
			_, err := c.whole(ctx, r, res)
			return err
		}
		a := agentapi.NewReader(res.Body, agentapi.MaxText)
		err := read(res.Header, a)
		if known := (*Error)(nil); err == nil || errors.As(err, &known) {
			return err
		}
		switch broken := a.Broken(); {
		case errors.Is(broken, agentapi.ErrGap):
			return c.tooLong(r, res.StatusCode, err)
		case broken != nil:
			return c.unread(ctx, r, res.StatusCode, broken)
		}
		return c.undecoded(r, a.Begin(), a.Why(err))
	}))
}

func (c *Client) report(ctx context.Context, r *request, err error) error {
	if c.options.OnRequest != nil {
		c.options.OnRequest(r.kind, err)
	}
	if err != nil {
		c.logger.DebugContext(ctx, "consul request failed", "kind", r.kind, "error", err)
	}
	return err
}

// answered sends r and calls read with the answer.
func (c *Client) answered(ctx context.Context, r *request, read func(context.Context, *http.Response) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if r.wait > 0 {
		ctx = httptrace.WithClientTrace(ctx, onlyOnce(func() { cancel(errBroken) }))
	}
	tooLate := func(limit time.Duration) (stop func() bool) {
		return time.AfterFunc(limit, func() { cancel(fmt.Errorf("%w (%v)", errTooLate, limit)) }).Stop
	}
	stop := tooLate(c.options.Limits.Request + r.wait)
	res, err := c.send(ctx, r)
	stop()
	if err != nil {
		return err
	}
	defer res.Body.Close()
	defer tooLate(c.options.Limits.Request)() // an agent that has begun waits no more
	return read(ctx, res)
}

// whole reads the body of an answer. One with an error status is an error, too.
func (c *Client) whole(ctx context.Context, r *request, res *http.Response) ([]byte, error) {
	most := c.options.Limits.Answer
	if r.most > 0 {
		most = min(most, r.most)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, c.unread(ctx, r, res.StatusCode, err)
	case int64(len(body)) > most:
		return nil, c.tooLong(r, res.StatusCode, fmt.Errorf("%w, %d bytes", ErrTooLong, most))
	case res.StatusCode < 200 || res.StatusCode > 299:
		e := r.fail(nil, res.StatusCode, nil)
		e.Body = excerpt(body, r.token)
		e.Advice, e.Kind = kindOf(res.StatusCode, e.Body)
		if advice := c.token.Advice(); advice != "" && (e.Kind == ErrTokenRefused || e.Kind == ErrForbidden) {
			e.Advice = advice
		}
		return nil, e
	}
	return body, nil
}

func (c *Client) tooLong(r *request, status int, err error) *Error {
	e := r.fail(ErrBadAnswer, status, err)
	e.Advice = "does CONSUL_HTTP_ADDR lead to an agent? Then its answer is larger than serai accepts"
	return e
}

// decode reads a JSON answer into out.
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
		e.Advice = "that is a web page: CONSUL_HTTP_ADDR must be the agent's own address"
	}
	return e
}

// insane is the error of an answer that decodes but cannot be true.
func insane(r *request, format string, args ...any) *Error {
	e := r.fail(ErrBadAnswer, http.StatusOK, fmt.Errorf(format, args...))
	e.Advice = adviceStranger
	return e
}

func excerpt(b []byte, token string) string { return agentapi.Excerpt(b, token) }
