package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"serai/admin"
)

// reaching are the flags that say where a serai's admin is, and how it is reached.
type reaching struct {
	Admin      string `default:"127.0.0.1:8081" help:"Admin address of the serai to ask: ADDR, or https://ADDR where it speaks TLS." placeholder:"ADDR|URL"`
	TokenFile  string `name:"admin-token-file" help:"File whose first line is the token for the admin listener; SERAI_ADMIN_TOKEN in the environment when empty." placeholder:"FILE"`
	CA         string `name:"admin-ca-file" help:"PEM file of the roots that verify the admin listener's certificate; the system's when empty." placeholder:"FILE"`
	ServerName string `name:"admin-server-name" help:"Name in the admin listener's certificate, if it differs from --admin." placeholder:"NAME"`
	Cert       string `name:"admin-client-cert-file" help:"PEM file of the client certificate for the admin listener." placeholder:"FILE"`
	Key        string `name:"admin-client-key-file" help:"PEM file of the private key for --admin-client-cert-file." placeholder:"FILE"`
}

// defaultAdmin is where the admin is when no flag says, as the tag of reaching.Admin has it.
const defaultAdmin = "127.0.0.1:8081"

// tokenVariable is the variable of the environment that has the token where no file does.
const tokenVariable = "SERAI_ADMIN_TOKEN"

// base is the URL that paths are appended to.
func (a *reaching) base() (*url.URL, error) {
	text := a.Admin
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
		return nil, &usageError{fmt.Errorf("--admin=%s is neither ADDR nor https://ADDR", a.Admin)}
	}
	if host, port, err := net.SplitHostPort(u.Host); err == nil && host == "" {
		u.Host = net.JoinHostPort("127.0.0.1", port)
	}
	u.Path = ""
	if u.Scheme == "http" && (a.CA != "" || a.ServerName != "" || a.Cert != "") {
		return nil, &usageError{fmt.Errorf("--admin=%s is asked without TLS, which --admin-ca-file, --admin-server-name and --admin-client-cert-file are for: write --admin=https://%s", a.Admin, u.Host)}
	}
	return u, nil
}

// exposes reports whether a token for u would go through the network in plain text, although
// --admin does not say that it may.
func (a *reaching) exposes(u *url.URL) bool {
	if strings.Contains(a.Admin, "://") || u.Hostname() == "localhost" {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}

// token is what is sent, empty for none.
func (a *reaching) token(getenv func(string) string) (string, error) {
	text, from := []byte(getenv(tokenVariable)), tokenVariable
	if a.TokenFile != "" {
		from = "--admin-token-file=" + a.TokenFile
		var err error
		if text, err = os.ReadFile(a.TokenFile); err != nil {
			return "", &usageError{fmt.Errorf("--admin-token-file: %w", err)}
		}
	}
	if len(text) == 0 && a.TokenFile == "" {
		return "", nil
	}
	all, err := admin.ParseTokens(text)
	if err != nil {
		return "", &usageError{fmt.Errorf("%s: %w", from, err)}
	}
	return all[0], nil
}

// transport is how the admin is reached.
func (a *reaching) transport() (*http.Transport, error) {
	if (a.Cert == "") != (a.Key == "") {
		return nil, &usageError{errors.New("--admin-client-cert-file and --admin-client-key-file must be set together")}
	}
	c, err := clientTLS(fileFlag{"admin-ca-file", a.CA}, fileFlag{"admin-client-cert-file", a.Cert}, fileFlag{"admin-client-key-file", a.Key})
	if err != nil {
		return nil, &usageError{err}
	}
	c.ServerName = a.ServerName
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: c, DisableKeepAlives: true,
		DialContext: (&net.Dialer{Timeout: askTime}).DialContext, TLSHandshakeTimeout: askTime, ResponseHeaderTimeout: askTime,
	}, nil
}

// send makes a request of the admin. The body of the answer is to be closed. An error says where
// it went, and what to do.
func (a *reaching) send(ctx context.Context, env *environment, method, path string, body io.Reader) (*http.Response, error) {
	u, err := a.base()
	if err != nil {
		return nil, err
	}
	transport, err := a.transport()
	if err != nil {
		return nil, err
	}
	token, err := a.token(env.getenv)
	if err != nil {
		return nil, err
	}
	switch {
	case token == "":
	case a.exposes(u):
		return nil, &usageError{fmt.Errorf("a token for --admin=%s would be sent in plain text: write https://%s, or http://%s if the network may see it", a.Admin, u.Host, u.Host)}
	case u.Scheme == "http":
		transport.Proxy = nil // which would read the token
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String()+path, body)
	if err != nil {
		return nil, a.fails(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	// A redirect could lead the token elsewhere.
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(r)
	if err != nil {
		return nil, a.fails(err)
	}
	return res, nil
}

// fails says what to do about an error.
func (a *reaching) fails(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err // the address is told below
	}
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	advice := "--admin names its admin address"
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer within %v", askTime)
	case errors.As(err, &unknown):
		advice = "--admin-ca-file names the roots that verify its certificate"
	case errors.As(err, &name):
		advice = "--admin-server-name says which name its certificate has"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		advice = "it speaks no TLS: write --admin without https://"
	}
	return &awayError{fmt.Errorf("ask serai at %s: %w; %s", a.Admin, &shownError{err}, advice)}
}

// shownError is an error whose text may have foreign bytes, such as names of a certificate.
type shownError struct{ error }

func (e *shownError) Error() string { return shown(e.error.Error()) }
func (e *shownError) Unwrap() error { return e.error }

// awayError says that nobody has answered, or a serai that can not for now.
type awayError struct{ error }

func (e *awayError) Unwrap() error { return e.error }

// refused is the error of an answer that is not 200, of which it reads the body.
func (a *reaching) refused(res *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	says := strings.TrimSpace(string(text))
	switch {
	case strings.Contains(says, "Client sent an HTTP request to an HTTPS server"):
		return fmt.Errorf("ask serai at %s: it speaks TLS: write --admin=https://%s", a.Admin, strings.TrimPrefix(a.Admin, "http://"))
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden || res.StatusCode == http.StatusBadRequest:
		return fmt.Errorf("ask serai at %s: %s: %s", a.Admin, shown(res.Status), shown(firstLine(says)))
	}
	return fmt.Errorf("ask serai at %s: %s; is that serai's admin address? --admin names it", a.Admin, shown(res.Status))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
