package policy

import (
	"fmt"
	"slices"
	"strings"

	"serai/wire"
)

// Redirect is a redirect that answers instead of the instances.
type Redirect struct {
	Status int
	// HTTPS redirects to the same URL over https; a request over https is not
	// redirected by it.
	HTTPS bool
	// Parts are the target, in order; nil with HTTPS.
	Parts []Part
}

// Part is a literal or a placeholder in a redirect's target, or in a field's value.
type Part struct {
	Literal string
	Is      Placeholder
}

// String returns the redirect as its tag writes it.
func (r *Redirect) String() string {
	if r.HTTPS {
		return "https"
	}
	var b strings.Builder
	for _, p := range r.Parts {
		b.WriteString(p.Literal)
		b.WriteString(p.Is.String())
	}
	return b.String()
}

// needsHost reports whether the target contains the request's host.
func (r *Redirect) needsHost() bool {
	return r.HTTPS || slices.ContainsFunc(r.Parts, func(p Part) bool { return p.Is == Host })
}

// AppendLocation appends the Location for a request. Bytes that a URL cannot contain
// are escaped, so that it is safe whatever the request contains.
func (r *Redirect) AppendLocation(dst []byte, q Request) []byte {
	h := q.Received()
	if r.HTTPS {
		dst = append(dst, "https://"...)
		dst = appendHost(dst, q)
		dst = appendPath(dst, h.Path)
		if h.HasQuery { // "/a?" is another URL than "/a" (RFC 3986 section 6.2.3)
			dst = append(dst, '?')
			dst = appendEscaped(dst, h.Query)
		}
		return dst
	}
	for _, p := range r.Parts {
		switch p.Is {
		case NoPlaceholder:
			dst = append(dst, p.Literal...)
		case Host:
			dst = appendHost(dst, q)
		case Path:
			dst = appendPath(dst, h.Path)
		case Query:
			if n := len(dst); len(h.Query) == 0 && n > 0 && (dst[n-1] == '?' || dst[n-1] == '&') {
				dst = dst[:n-1] // without a query there is no question mark
			}
			dst = appendEscaped(dst, h.Query)
		}
	}
	return dst
}

func appendHost(dst []byte, q Request) []byte {
	var buf [256]byte // for the longest name and address
	return appendEscaped(dst, q.AppendHost(buf[:0]))
}

// appendPath appends the path, which always begins with a slash; the "*" of OPTIONS
// becomes one.
func appendPath(dst, path []byte) []byte {
	if len(path) == 0 || path[0] != '/' {
		return append(dst, '/')
	}
	return appendEscaped(dst, path)
}

func appendEscaped(dst, s []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, b := range s {
		if inURL(b) {
			dst = append(dst, b)
		} else {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return dst
}

// inURL reports whether a byte may stand in a URL as it is.
func inURL(b byte) bool {
	return b > ' ' && b < 0x7f && b != '"' && b != '<' && b != '>' && b != '\\' && b != '#'
}

// redirect answers with a Redirect. A request that already uses the URL of
// "redirect=https" goes on to the instances.
type redirect struct{ to *Redirect }

var _ RequestPolicy = (*redirect)(nil)

// compileToHTTPS is the redirect to the same URL over https.
func compileToHTTPS(o *OfRoute) Policy {
	if o.Redirect == nil || !o.Redirect.HTTPS {
		return nil
	}
	return &redirect{o.Redirect}
}

// compileRedirect is any other redirect, which may lead where not everybody is to go.
func compileRedirect(o *OfRoute) Policy {
	if o.Redirect == nil || o.Redirect.HTTPS {
		return nil
	}
	return &redirect{o.Redirect}
}

var nameLocation = []byte("Location")

// Request implements RequestPolicy.
func (p *redirect) Request(r Request, reply *Reply) (answered bool) {
	if p.to.HTTPS && r.OverHTTPS() {
		return false
	}
	if p.to.needsHost() && len(r.AppendHost(reply.Values.Start())) == 0 {
		// HTTP/1.0 may have no Host, and "." is no host: "https:///" leads nowhere.
		reply.Status, reply.Reason, reply.Detail = wire.ErrHostMissing.Status, wire.ErrHostMissing.Code, "the redirect needs a host"
		return true
	}
	reply.Status, reply.Reason = p.to.Status, "redirect"
	location := reply.Values.Keep(p.to.AppendLocation(reply.Values.Start(), r))
	reply.Fields = append(reply.Fields, wire.Field{Name: nameLocation, Value: location})
	return true
}

// Explain implements Policy.
func (p *redirect) Explain() string {
	if p.to.HTTPS {
		return fmt.Sprintf("redirect: plain HTTP is answered %d, with the same URL over https", p.to.Status)
	}
	return fmt.Sprintf("redirect: every request is answered %d, with %s", p.to.Status, p.to)
}
