package tracing

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"serai/internal/boundedhttp"
)

// Bounds of a collector's answers, in bytes: of one that takes traces, and of what is read of
// one that does not.
const (
	maxAnswer  = 64 << 10
	maxRefusal = 4 << 10
)

// collector is the way to the collector. What it answers is read here, since the library
// tells neither how many spans were rejected nor where a redirect leads. Only the goroutine
// that exports uses it.
type collector struct {
	bounded *http.Client
	timeout time.Duration // of one request
	logger  *slog.Logger
	partial *collectorpb.ExportTracePartialSuccess // of the last answer; nil for none
}

// newCollector makes one that connects to nothing yet. Nil is the TLS of the system's roots.
func newCollector(c *tls.Config, roots func() (*x509.CertPool, error), timeout time.Duration, logger *slog.Logger) (*collector, error) {
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, ForceAttemptHTTP2: true, DialContext: new(net.Dialer).DialContext,
		TLSHandshakeTimeout: timeout, IdleConnTimeout: 90 * time.Second,
	}
	if roots != nil {
		if err := boundedhttp.FreshRoots(tr, roots); err != nil {
			return nil, err
		}
	}
	return &collector{timeout: timeout, logger: logger, bounded: boundedhttp.NewClient(tr, boundedhttp.Bounds{Body: maxAnswer})}, nil
}

// client is what the library sends with.
func (c *collector) client() *http.Client {
	return &http.Client{Transport: c, CheckRedirect: c.bounded.CheckRedirect, Timeout: c.timeout}
}

// RoundTrip implements http.RoundTripper.
func (c *collector) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.bounded.Transport.RoundTrip(r)
	if err != nil {
		return nil, c.unreached(err)
	}
	switch to := res.Header.Get("Location"); {
	case res.StatusCode/100 == 2:
		if err := c.read(res); err != nil {
			return nil, err
		}
		return res, nil
	case res.StatusCode/100 == 3 && to != "":
		res.Body.Close()
		return nil, fmt.Errorf("the collector answers %d and sends to %s: traces and their fields go only where --otlp says", res.StatusCode, whereTo(r.URL, to))
	}
	// A longer one would be taken for an answer that cannot be read, and not be tried again.
	res.Body = cut{io.LimitReader(res.Body, maxRefusal), res.Body}
	return res, nil
}

// unreached is the error of a request of which nothing was sent: nobody listens, or the name
// is not known. The library tries again what is temporary, within the time of its retries: a
// collector that is being restarted is back by then.
type unreached struct{ error }

// Temporary says so to package net/url, which the library asks.
func (unreached) Temporary() bool { return true }
func (u unreached) Unwrap() error { return u.error }

// unreached marks the error of a connect.
func (c *collector) unreached(err error) error {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "dial" {
		return err
	}
	c.logger.Debug("the collector cannot be reached: the same traces are tried again for some seconds", "error", err)
	return unreached{err}
}

// cut is the beginning of a body.
type cut struct {
	io.Reader
	io.Closer
}

// whereTo is where a redirect leads, without a password or a query.
func whereTo(from *url.URL, to string) string {
	u, err := from.Parse(to)
	if err != nil {
		return "a place that is no URL"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// read keeps what an answer says of spans that were rejected. What it cannot read is for the
// library to judge.
func (c *collector) read(res *http.Response) error {
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return err
	}
	var answer collectorpb.ExportTraceServiceResponse
	switch kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind {
	case "application/x-protobuf":
		err = proto.Unmarshal(body, &answer)
	case "application/json":
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(body, &answer)
	}
	if c.partial = answer.GetPartialSuccess(); err == nil && c.partial != nil {
		body = nil
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return nil
}

// rejected returns how many of the spans that were sent last the collector has rejected, and
// what it said, which may be a warning alone.
func (c *collector) rejected(sent int) (n int, message string) {
	return int(min(max(c.partial.GetRejectedSpans(), 0), int64(sent))), c.partial.GetErrorMessage()
}
