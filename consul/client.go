package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"serai/internal/agentapi"
)

// The kinds of request that Options.OnRequest is called with.
const (
	KindServices = "services"
	KindService  = "service"
	KindChecks   = "checks"
	KindLeader   = "leader"
	KindNode     = "node"
	// KindSidecars are lists of what is connected to in Consul's mesh; KindLeaf, KindRoots and
	// KindIntention are about serai's own place in it.
	KindSidecars  = "sidecars"
	KindLeaf      = "leaf"
	KindRoots     = "roots"
	KindIntention = "intention"
)

// Client talks to one agent. It is safe for concurrent use, starts no goroutine of its own
// and never retries: that is for the caller to decide.
type Client struct {
	options Options
	address agentapi.Address
	token   *agentapi.Token
	http    *http.Client
	logger  *slog.Logger
}

// NewClient returns a client for o, or everything that is wrong with o. It sends nothing.
func NewClient(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("set up the consul client: %w", err)
	}
	a, err := parseAddress(o.Address)
	if err != nil {
		return nil, err
	}
	tr, err := newTransport(a, o.TLS, o.Limits.withDefaults().Connections)
	if err != nil {
		return nil, err
	}
	o.Limits = o.Limits.withDefaults()
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Client{
		options: o, address: a, logger: logger,
		token: &agentapi.Token{File: o.TokenFile, Fixed: strings.TrimSpace(o.Token), Variable: "CONSUL_HTTP_TOKEN"},
		http: &http.Client{
			Transport: tr,
			// A redirect would carry the token to a stranger.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Address is the client's address of the agent, for logs: a URL or unix:///PATH.
func (c *Client) Address() string { return c.address.String() }

// TokenUnread is why the token file has never been read, nil where it has, or there is none. A
// cluster without ACLs takes requests without a token.
func (c *Client) TokenUnread() error { return c.token.Unread() }

// Anonymous reports whether requests carry no token now.
func (c *Client) Anonymous() bool { return c.token.Now() == "" }

// CloseIdleConnections closes connections that carry no request.
func (c *Client) CloseIdleConnections() { c.http.CloseIdleConnections() }

// request is one request before it is sent.
type request struct {
	kind   string
	op     string // what the request does, for the error
	path   string // escaped
	params url.Values
	wait   time.Duration
	most   int64  // bytes of the answer, 0 for the usual limit
	token  string // the token that was sent, set by send: no error may show it
}

// fail makes an error of r. Kind and err may be nil.
func (r *request) fail(kind error, status int, err error) *Error {
	e := &Error{Op: r.op, Path: r.path, Status: status, Kind: kind, Err: err}
	return e.Hiding(&r.token)
}

// Causes of a context that the client itself has ended.
var (
	errTooLate = errors.New("no complete answer in time")
	errBroken  = errors.New("the connection broke while the agent waited")
)

// onlyOnce calls again when a request is sent a second time, which net/http does where a
// connection that was used before breaks. The agent may have restarted meanwhile, and wait for
// an index that it will not reach for long.
func onlyOnce(again func()) *httptrace.ClientTrace {
	var sent atomic.Bool
	return &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		if sent.Swap(true) {
			again()
		}
	}}
}

// send sends r and returns the answer, whose body the caller must close.
func (c *Client) send(ctx context.Context, r *request) (*http.Response, error) {
	u := c.address.Base.String() + r.path
	if q := r.params.Encode(); q != "" {
		u += "?" + q
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, r.fail(nil, 0, err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "serai")
	if c.options.User != "" {
		req.SetBasicAuth(c.options.User, c.options.Password)
	}
	r.token = c.token.Now()
	if !agentapi.Plausible(r.token) {
		e := r.fail(ErrTokenRefused, 0, errors.New("the token holds characters that no token has"))
		e.Advice = "look at " + c.token.Origin()
		return nil, e
	}
	if r.token != "" {
		req.Header.Set("X-Consul-Token", r.token)
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
		switch e.Err = context.Cause(ctx); {
		case errors.Is(e.Err, errBroken):
			return e
		case !errors.Is(e.Err, errTooLate):
			e.Kind = nil // the caller ended it
			return e
		}
		e.Advice = fmt.Sprintf("is the agent at %s overloaded or behind a broken network?", c.Address())
		return e
	}
	e.Advice, e.Kind = kindOfFailure(err)
	if e.Advice == "" {
		e.Advice = fmt.Sprintf("is an agent running at %s? --consul or CONSUL_HTTP_ADDR says where to look", c.Address())
	}
	return e
}
