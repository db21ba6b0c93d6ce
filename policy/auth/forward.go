package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"serai/internal/quota"
	"serai/policy"
)

// ForwardOptions is a forward block. Zero values mean the defaults named.
type ForwardOptions struct {
	// URL is asked, or Service: one of them is required.
	URL string
	// Service is the name of a service of the table, for people, that Path is asked of, "/"
	// by default; Ask asks it. Its error completes a sentence whose subject is the service.
	Service, Path string
	Ask           http.RoundTripper
	// Copy names fields of an answer that lets a request pass, for the instance.
	Copy []string
	// TrustForwarded believes what a trusted proxy says of the method, the host and the
	// URI that the client has asked for.
	TrustForwarded bool
	// Timeout bounds a question, 5s; its answer's body is part of it.
	Timeout time.Duration
	// MaxInflight bounds the questions under way, 128; one client has a quarter of
	// them.
	MaxInflight int
	// MaxAnswer bounds the head, and the body, of an answer, in bytes; DefaultAnswer.
	MaxAnswer int
	// Questions counts; nil counts where nobody sees it.
	Questions *Questions
}

// Forward asks a service for each request whether it may pass.
type Forward struct {
	name, host     string
	owned          policy.Names
	service        string // empty where a URL is asked
	url            *url.URL
	copied         policy.Names
	trustForwarded bool
	timeout        time.Duration
	transport      http.RoundTripper
	places         *Places
	maxAnswer      int
	counts         *questionCounts
}

var _ policy.Owner = (*Forward)(nil)

// NewForward makes the policy of that name. Close ends its connections.
func NewForward(name string, o ForwardOptions) (*Forward, error) {
	u, err := o.target()
	if err != nil {
		return nil, err
	}
	for _, name := range o.Copy {
		if err := Settable(name); err != nil {
			return nil, fmt.Errorf("copy: %w", err)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.MaxInflight == 0 {
		o.MaxInflight = 128
	}
	setDefault(&o.MaxAnswer, DefaultAnswer)
	if o.Timeout < 0 || o.Timeout > time.Minute {
		return nil, errors.New("timeout is not between 0 and 1m")
	}
	if o.MaxInflight < 1 || o.MaxInflight > 10_000 {
		return nil, errors.New("max_inflight is not between 1 and 10000")
	}
	f := &Forward{
		name: name, host: u.Host, service: o.Service, url: u, copied: slices.Clone(o.Copy), trustForwarded: o.TrustForwarded,
		owned: append(slices.Clone(o.Copy), proxyAuthorization), timeout: o.Timeout, places: NewPlaces(o.MaxInflight, errAsks, errClientAsks),
		maxAnswer: o.MaxAnswer, counts: o.Questions.countsOf(name),
	}
	if f.transport = o.Ask; o.Service != "" {
		return f, nil
	}
	f.transport = &http.Transport{
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: int64(o.MaxAnswer),
		DisableCompression: true, // the body is for the client, which is not asked what it reads
		ForceAttemptHTTP2:  false,
	}
	return f, nil
}

// target returns what is asked.
func (o *ForwardOptions) target() (*url.URL, error) {
	if o.Service != "" {
		u, err := url.ParseRequestURI(cmp.Or(o.Path, "/"))
		if err != nil || o.URL != "" || u.Host != "" || !strings.HasPrefix(u.Path, "/") || strings.Contains(o.Path, "#") {
			return nil, errors.New("path is not the path of a URL, with or without a query")
		}
		return u, nil
	}
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "":
		return nil, errors.New("url is not an absolute URL with http or https") // it may contain a secret
	case u.User != nil:
		return nil, errors.New("url contains a user or a password: it would be shown where the policy is explained")
	}
	return u, nil
}

// Service is the service of the table that is asked, empty for none.
func (f *Forward) Service() string { return f.service }

// Close ends the connections that are idle, and has the others end after their question.
// Those to a service of the table are not its own.
func (f *Forward) Close() {
	if own, ok := f.transport.(*http.Transport); ok {
		own.CloseIdleConnections()
	}
}

// Why no question is asked.
var (
	errClientAsks = errors.New("too many requests of this client wait for the auth service")
	errAsks       = errors.New("too many requests wait for the auth service")
)

// Request implements policy.RequestPolicy.
func (f *Forward) Request(r policy.Request, reply *policy.Reply) (answered bool) {
	if f.leads(r) {
		refuse(reply, policy.ErrAuthPath)
		return true
	}
	leave, err := f.places.Enter(quota.ClientOf(r.ClientAddr()))
	if err != nil {
		if err == errClientAsks {
			f.counts[questionClientBusy].Add(1)
		} else {
			f.counts[questionBusy].Add(1)
		}
		return busy(reply, err)
	}
	defer leave()
	question := f.question(r)
	if r.Looped() {
		f.counts[questionLooped].Add(1)
		refuse(reply, policy.ErrAuthLoop)
		return true
	}
	var a *answer
	r.Wait(func(gone <-chan struct{}) { a, err = f.ask(question, gone) })
	switch {
	case err == errGone:
		f.counts[questionLeft].Add(1)
		reply.Status = 0
		return true
	case err != nil:
		f.counts[resultOf(err)].Add(1)
		refuse(reply, policy.ErrAuthUnavailable)
		reply.Detail = "the auth service " + err.Error()
		return true
	case !a.passes():
		f.counts[questionDenied].Add(1)
		a.deny(reply, r.Learned())
		return true
	}
	f.counts[questionPassed].Add(1)
	a.letIn(r.Learned(), f.copied)
	return false
}

// ask sends a question and returns the whole answer. Its errors complete a sentence, and
// tell nothing of the service's address.
func (f *Forward) ask(question *http.Request, gone <-chan struct{}) (*answer, error) {
	ctx, cancel := context.WithTimeout(question.Context(), f.timeout)
	defer cancel()
	left := false
	watched := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-gone:
			left = true
			cancel()
		case <-done:
		}
	}()
	res, err := f.transport.RoundTrip(question.WithContext(ctx))
	var a *answer
	if err == nil {
		a, err = readAnswer(res, f.maxAnswer)
	}
	timedOut := ctx.Err() == context.DeadlineExceeded
	close(done)
	<-watched
	switch {
	case err == nil:
		return a, nil
	case left:
		return nil, errGone
	case timedOut:
		return nil, errQuestionLate
	case errors.Is(err, errAnswer):
		return nil, err
	case strings.Contains(err.Error(), "response headers exceeded"): // the library has no other way to tell
		return nil, fmt.Errorf("%w: a head of more than %d bytes", errAnswerLong, f.maxAnswer)
	}
	return nil, errors.New("cannot be reached, or breaks off")
}

// Waiting returns how many questions are under way, and how many may be.
func (f *Forward) Waiting() (now, most int) { return f.places.Now() }

var errQuestionLate = errors.New("does not answer in time")

// resultOf is what an error of ask is counted as.
func resultOf(err error) questionResult {
	switch {
	case err == errQuestionLate:
		return questionLate
	case errors.Is(err, errAnswerLong):
		return questionTooLong
	case errors.Is(err, errAnswer):
		return questionUnusable
	}
	return questionUnreachable
}

// Owns implements policy.Owner. Credentials for a proxy are for the service, which stands
// for the proxy that has asked for them (RFC 9110 section 11.7.2): no instance gets them.
func (f *Forward) Owns() policy.Names { return f.owned }

// Explain implements policy.Policy. The path and the query may contain a secret.
func (f *Forward) Explain() string {
	line := fmt.Sprintf("auth: %s asks %s://%s", f.name, f.url.Scheme, f.url.Host)
	if f.service != "" {
		line = fmt.Sprintf("auth: %s asks the service %s", f.name, f.service)
	}
	if len(f.copied) > 0 {
		line += ", and copies " + strings.Join(f.copied, ", ")
	}
	return line
}
