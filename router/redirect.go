package router

import (
	"fmt"
	"strings"
)

// Redirect is a redirection that answers instead of the instances.
type Redirect struct {
	Status int
	// HTTPS leads to the same URL over https; a request that came over https
	// is not redirected by it.
	HTTPS bool
	// parts are the target, in order; nil with HTTPS.
	parts []part
}

// part is a literal or a placeholder of a redirection's target.
type part struct {
	literal string
	is      placeholder
}

type placeholder uint8

const (
	isLiteral placeholder = iota
	isHost
	isPath
	isQuery
)

func (p placeholder) String() string { return [...]string{"", "{host}", "{path}", "{query}"}[p] }

// String returns the redirection as its tag writes it.
func (r *Redirect) String() string {
	if r.HTTPS {
		return "https"
	}
	var b strings.Builder
	for _, p := range r.parts {
		b.WriteString(p.literal)
		b.WriteString(p.is.String())
	}
	return b.String()
}

// AppendLocation appends the Location for a request. Bytes that a URL cannot
// contain are escaped, so that it is safe whatever the request holds.
func (r *Redirect) AppendLocation(dst []byte, q *Query) []byte {
	if r.HTTPS {
		dst = append(dst, "https://"...)
		dst = appendHost(dst, q)
		dst = appendPath(dst, q)
		if len(q.RawQuery) > 0 {
			dst = append(dst, '?')
			dst = appendEscaped(dst, q.RawQuery)
		}
		return dst
	}
	for _, p := range r.parts {
		switch p.is {
		case isLiteral:
			dst = append(dst, p.literal...)
		case isHost:
			dst = appendHost(dst, q)
		case isPath:
			dst = appendPath(dst, q)
		case isQuery:
			if n := len(dst); len(q.RawQuery) == 0 && n > 0 && (dst[n-1] == '?' || dst[n-1] == '&') {
				dst = dst[:n-1] // nothing follows it
			}
			dst = appendEscaped(dst, q.RawQuery)
		}
	}
	return dst
}

func appendHost(dst []byte, q *Query) []byte {
	var buf normalBuffer
	return appendEscaped(dst, normalHost(q.Host, &buf))
}

// appendPath appends the path, which always begins with a slash: "*" of
// OPTIONS has none.
func appendPath(dst []byte, q *Query) []byte {
	if len(q.Path) == 0 || q.Path[0] != '/' {
		return append(dst, '/')
	}
	return appendEscaped(dst, q.Path)
}

func appendEscaped(dst, s []byte) []byte {
	const hex = "0123456789ABCDEF"
	for _, b := range s {
		if b > ' ' && b < 0x7f && b != '"' && b != '<' && b != '>' && b != '\\' && b != '#' {
			dst = append(dst, b)
		} else {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		}
	}
	return dst
}

// parseRedirect reads the redirect tag.
func parseRedirect(d *draft, value string) *flaw {
	if value == "https" {
		d.Options.Redirect = &Redirect{HTTPS: true}
		return nil
	}
	const example = "redirect=https, or redirect=https://new.example.org{path}?{query}"
	parts, f := parseParts(value)
	if f != nil {
		return f
	}
	first := parts[0].literal
	absolute := strings.HasPrefix(first, "https://") || strings.HasPrefix(first, "http://")
	switch {
	case !absolute && !strings.HasPrefix(first, "/"):
		return &flaw{fmt.Sprintf("redirect target %s is not a URL", quote(value)), example}
	case absolute && strings.HasSuffix(first, "://") && (len(parts) == 1 || parts[1].is != isHost),
		absolute && strings.Contains(first, ":///"):
		return &flaw{fmt.Sprintf("redirect target %s has no host", quote(value)), example}
	case !absolute && (strings.HasPrefix(first, "//") || first == "/" && len(parts) > 1):
		// "/" and a path of "/evil.example" would make a URL of another host.
		return &flaw{fmt.Sprintf("redirect target %s could lead to any host", quote(value)), "https://{host}{path}"}
	}
	// Where the path begins the host must have ended: behind "https://good" a
	// path is safe only because it begins with a slash, a query is not.
	if absolute {
		if f := checkAuthority(value, parts); f != nil {
			return f
		}
	}
	d.Options.Redirect = &Redirect{parts: parts}
	return nil
}

// checkAuthority refuses a query, or a second host, as part of the host.
func checkAuthority(value string, parts []part) *flaw {
	_, rest, _ := strings.Cut(value, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	authority, _, _ = strings.Cut(authority, "{path}")
	if strings.Contains(authority, "{query}") || strings.Contains(authority, "@") {
		return &flaw{fmt.Sprintf("redirect target %s could lead to any host", quote(value)), "a slash or {path} behind the host"}
	}
	return nil
}

// parseParts splits a redirection's target at its placeholders.
func parseParts(value string) ([]part, *flaw) {
	var parts []part
	for rest := value; rest != ""; {
		open := strings.IndexByte(rest, '{')
		if open != 0 {
			literal := rest
			if open > 0 {
				literal = rest[:open]
			}
			rest = rest[len(literal):]
			for i := range len(literal) {
				if b := literal[i]; b <= ' ' || b >= 0x7f || strings.IndexByte("\"<>\\^`|}", b) >= 0 {
					return nil, &flaw{fmt.Sprintf("redirect target %s contains a byte that no URL has", quote(value)), fmt.Sprintf("%%%02X in its place", b)}
				}
			}
			parts = append(parts, part{literal: literal})
			continue
		}
		found := false
		for _, p := range []placeholder{isHost, isPath, isQuery} {
			if tail, ok := strings.CutPrefix(rest, p.String()); ok {
				parts, rest, found = append(parts, part{is: p}), tail, true
				break
			}
		}
		if !found {
			return nil, &flaw{fmt.Sprintf("redirect target %s has an unknown placeholder", quote(value)), "{host}, {path} or {query}"}
		}
	}
	return parts, nil
}

// parseRedirectStatus reads the redirect-status tag.
func parseRedirectStatus(d *draft, value string) *flaw {
	status, f := wordList[int]{{"301", 301}, {"302", 302}, {"303", 303}, {"307", 307}, {"308", 308}}.parse(value)
	d.redirectStatus = status
	return f
}
