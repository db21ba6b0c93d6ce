package agentapi

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Address is where an agent is.
type Address struct {
	// Base is the URL to which request paths are joined; for a socket, its host is the
	// name of the agent's program.
	Base   url.URL
	Socket string
}

// ParseAddress reads http://HOST:PORT, https://HOST:PORT or unix:///PATH. Program is what
// the agent is called.
func ParseAddress(program, s string) (Address, error) {
	refuse := func(why string) (Address, error) {
		return Address{}, fmt.Errorf("%s address %q: %s; want http://HOST:PORT, https://HOST:PORT or unix:///PATH", program, redactAddress(s), why)
	}
	u, err := url.Parse(s)
	if err != nil {
		return refuse("it is not a URL")
	}
	switch {
	case u.User != nil:
		return refuse("it carries a user name, which would reach the logs")
	case u.RawQuery != "" || u.Fragment != "":
		return refuse("it carries a query or a fragment")
	case u.Scheme == "unix":
		path := u.Host + u.Path
		if path == "" {
			return refuse("the socket's path is empty")
		}
		return Address{Base: url.URL{Scheme: "http", Host: program}, Socket: path}, nil
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("its scheme is neither http, https nor unix")
	case u.Hostname() == "":
		return refuse("the host is empty")
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return refuse("its port is not between 1 and 65535")
		}
	}
	return Address{Base: url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}}, nil
}

// String is a URL or unix:///PATH.
func (a Address) String() string {
	if a.Socket != "" {
		return "unix://" + a.Socket
	}
	return a.Base.String()
}

// redactAddress hides what is before an @, which may be a password.
func redactAddress(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "..." + s[i:]
	}
	return s
}
