package keys

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"serai/internal/boundedhttp"
)

// RemoteOptions say where keys are fetched. Zero values mean the defaults named.
type RemoteOptions struct {
	// URL has the document. Required, and https unless Plain says otherwise or it is on
	// this machine: whoever can change the document on its way makes tokens.
	URL   string
	Plain bool
	// CA has the certificates, as PEM, that the server's must lead to; empty means those
	// of the system.
	CA string
	// Timeout bounds a fetch, and how long a request waits for it; 5s.
	Timeout time.Duration
	// Refresh is how often the keys are fetched, 5m. One that is withdrawn is accepted
	// for that long.
	Refresh time.Duration
	// AskedEvery is how often a token with an unknown key may have the keys fetched, 1m:
	// anybody can make one.
	AskedEvery time.Duration
	// MaxDocument bounds the document, in bytes; DefaultDocument.
	MaxDocument int64
}

// Bounds of RemoteOptions.
const (
	maxTimeout = 30 * time.Second
	minRefresh = time.Minute
	maxRefresh = 24 * time.Hour
)

// check fills in the defaults, and returns the URL.
func (o *RemoteOptions) check() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "":
		return nil, errors.New("jwks_url is not an absolute URL with http or https") // it may contain a secret
	case u.User != nil:
		return nil, errors.New("jwks_url contains a user or a password")
	case u.Scheme == "http" && !o.Plain && !onThisMachine(u.Hostname()):
		return nil, errors.New("jwks_url has no https: whoever can change the keys on their way lets anybody in. Where nobody can, say jwks_plain = true")
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Refresh == 0 {
		o.Refresh = 5 * time.Minute
	}
	if o.AskedEvery == 0 {
		o.AskedEvery = time.Minute
	}
	if o.MaxDocument == 0 {
		o.MaxDocument = DefaultDocument
	}
	if o.Timeout < 0 || o.Timeout > maxTimeout {
		return nil, fmt.Errorf("timeout is not between 0 and %s", maxTimeout)
	}
	if o.Refresh < minRefresh || o.Refresh > maxRefresh {
		return nil, fmt.Errorf("refresh is not between %s and %s", minRefresh, maxRefresh)
	}
	return u, nil
}

// onThisMachine reports whether a name in a URL is an address of the loopback.
func onThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// maxRedirects bounds the redirects that are followed, all of them to the same server.
const maxRedirects = 3

// newClient makes what fetches one document every few minutes: it keeps no connection.
func newClient(o *RemoteOptions) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(o.CA)) {
			return nil, errors.New("ca_file has no certificate in PEM")
		}
	}
	t := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true}
	return boundedhttp.NewClient(t, boundedhttp.Bounds{Body: o.MaxDocument, Redirects: maxRedirects}), nil
}

// fetch gets the keys. Its error tells the server, and nothing else of the URL.
func (r *Remote) fetch(ctx context.Context) (*Set, error) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	set, err := r.get(ctx)
	if err == nil {
		return set, nil
	}
	var wrapped *url.Error // has the whole URL
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if ctx.Err() == context.DeadlineExceeded {
		err = fmt.Errorf("no whole answer in %s", r.options.Timeout)
	}
	return nil, fmt.Errorf("%s: %w", r.url.Host, err)
}

func (r *Remote) get(ctx context.Context) (*Set, error) {
	q, err := http.NewRequestWithContext(ctx, "GET", r.options.URL, nil)
	if err != nil {
		return nil, err
	}
	q.Header.Set("Accept", "application/jwk-set+json, application/json")
	q.Header.Set("User-Agent", "serai")
	res, err := r.client.Do(q)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answers %d", res.StatusCode)
	}
	document, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	return ParseSet(document, false)
}
