package nomad

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"serai/internal/agentapi"
)

// The kinds of request that Options.OnRequest is called with.
const (
	KindServices   = "services"
	KindService    = "service"
	KindNamespaces = "namespaces"
	KindStream     = "stream"
	KindVariable   = "variable"
	KindVariables  = "variables"
	KindLock       = "lock"
	KindAgent      = "agent"
	KindJob        = "job"
)

// Client talks to one agent. It is safe for concurrent use, starts no goroutine of its
// own and never retries: that is for the caller to decide.
type Client struct {
	options Options
	address agentapi.Address
	token   *agentapi.Token
	http    *http.Client
	logger  *slog.Logger
}

// NewClient returns a client for o, or everything that is wrong with o. It sends
// nothing.
func NewClient(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("set up the nomad client: %w", err)
	}
	a, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	tr, err := newTransport(a, o.TLS)
	if err != nil {
		return nil, err
	}
	o.Limits = o.Limits.withDefaults()
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		options: o,
		address: a,
		token:   &agentapi.Token{File: o.TokenFile, Fixed: strings.TrimSpace(o.Token), Variable: "NOMAD_TOKEN"},
		http: &http.Client{
			Transport: tr,
			// A redirect would carry the token to a stranger.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		logger: logger,
	}, nil
}

// TokenUnread is why the token file has never been read, nil where it has, or there is none. A
// cluster without ACLs takes requests without a token.
func (c *Client) TokenUnread() error { return c.token.Unread() }

// Address is the client's address of the agent, for logs: a URL or unix:///PATH.
func (c *Client) Address() string { return c.address.String() }

// CloseIdleConnections closes connections that carry no request.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// request is one request before it is sent.
type request struct {
	kind   string
	op     string // what the request does, for the error
	method string
	path   string // escaped
	params url.Values
	body   any // nil, or encoded as JSON
	wait   time.Duration
	most   int64  // bytes of an answer that is read in parts; 0 for any number, of which texts are cut
	token  string // the token that was sent, set by send: no error may show it
}

// fail makes an error of r. Kind and err may be nil.
func (r *request) fail(kind error, status int, err error) *Error {
	e := &Error{Op: r.op, Method: r.method, Path: r.path, Status: status, Kind: kind, Err: err}
	return e.Hiding(&r.token)
}

// query sets the parameters of a Query.
func (r *request) query(q Query) {
	if q.Namespace != "" {
		r.params.Set("namespace", q.Namespace)
	}
	if q.Stale {
		r.params.Set("stale", "")
	}
	if q.Index == 0 {
		return
	}
	r.params.Set("index", strconv.FormatUint(q.Index, 10))
	// Agents add up to a sixteenth so that watchers do not all return at once; without
	// a wait they take 5 minutes.
	r.wait = 5 * time.Minute
	if q.Wait > 0 {
		r.wait = q.Wait
		r.params.Set("wait", strconv.FormatInt(max(1, q.Wait.Milliseconds()), 10)+"ms")
	}
	r.wait += r.wait/16 + time.Second
}

// errTooLate is the cause of a context that ended by the client's own limit.
var errTooLate = errors.New("no complete answer in time")

// do sends r and calls read, which may be nil, with a 2xx answer. Any other outcome is
// an *Error. The request counts as a success only if read returns nil.
func (c *Client) do(ctx context.Context, r *request, read func(http.Header, []byte) error) error {
	header, body, err := c.exchange(ctx, r)
	if err == nil && read != nil {
		err = read(header, body)
	}
	c.report(ctx, r.kind, err)
	return err
}

func (c *Client) report(ctx context.Context, kind string, err error) {
	if c.options.OnRequest != nil {
		c.options.OnRequest(kind, err)
	}
	if err != nil {
		c.logger.DebugContext(ctx, "nomad request failed", "kind", kind, "error", err)
	}
}

// send sends r and returns the answer, whose body the caller must close.
func (c *Client) send(ctx context.Context, r *request, encoding string) (*http.Response, error) {
	u := c.address.Base.String() + r.path
	if c.options.Region != "" {
		r.params.Set("region", c.options.Region)
	}
	if q := r.params.Encode(); q != "" {
		u += "?" + q
	}
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, r.fail(nil, 0, fmt.Errorf("encode the request: %w", err))
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, body)
	if err != nil {
		return nil, r.fail(nil, 0, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "serai")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if encoding != "" {
		req.Header.Set("Accept-Encoding", encoding)
	}
	r.token = c.token.Now()
	if !agentapi.Plausible(r.token) {
		e := r.fail(ErrTokenRefused, 0, errors.New("the token holds characters that no token has"))
		e.Advice = "look at " + c.token.Origin()
		return nil, e
	}
	if r.token != "" {
		req.Header.Set("X-Nomad-Token", r.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, r, err)
	}
	return res, nil
}

// unread is the error of an answer whose head came but whose body did not.
func (c *Client) unread(ctx context.Context, r *request, status int, err error) *Error {
	e := c.failed(ctx, r, err)
	e.Status = status
	if network := net.Error(nil); e.Kind == ErrUnreachable && ctx.Err() == nil && !errors.As(err, &network) {
		// Bytes came but could not be decoded, such as invalid gzip.
		e.Kind, e.Err, e.Advice = ErrBadAnswer, fmt.Errorf("the answer cannot be read: %w", err), adviceStranger
	}
	return e
}

// failed is the error of a request without a complete answer.
func (c *Client) failed(ctx context.Context, r *request, err error) *Error {
	// The URL that http.Client puts before the cause repeats our text.
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	e := r.fail(ErrUnreachable, 0, err)
	if ctx.Err() != nil {
		cause := context.Cause(ctx)
		e.Err = cause
		if !errors.Is(cause, errTooLate) {
			e.Kind = nil // the caller ended it
			return e
		}
		e.Advice = fmt.Sprintf("is the agent at %s overloaded or behind a broken network?", c.Address())
		return e
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.Kind = ErrBadAnswer
		e.Err = fmt.Errorf("the answer was cut short: %w", err)
		e.Advice = "if that stays so, NOMAD_ADDR leads to a proxy that cuts it, or to no agent"
		return e
	case errors.Is(err, io.EOF):
		e.Err = fmt.Errorf("the connection was closed without an answer: %w", err)
	}
	if advice, kind := kindOfFailure(err); kind != nil {
		e.Kind, e.Advice = kind, advice
		if s, ok := strings.CutPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: "); ok {
			e.Err = errors.New(s)
		}
	} else if c.address.Socket != "" {
		e.Advice = fmt.Sprintf("is the Task API socket %s mounted in this task, and its agent running?", c.address.Socket)
	} else {
		e.Advice = fmt.Sprintf("is an agent running at %s? NOMAD_ADDR says where to look", c.Address())
	}
	return e
}
