package router

import (
	"fmt"
	"strings"

	"serai/policy"
)

// parseRedirect reads the redirect tag.
func parseRedirect(d *draft, value string) *flaw {
	if value == "https" {
		d.Options.Redirect = &policy.Redirect{HTTPS: true}
		return nil
	}
	const example = "redirect=https, or redirect=https://new.example.org{path}?{query}"
	parts, f := parseParts(value)
	if f != nil {
		return f
	}
	first := parts[0].Literal
	absolute := strings.HasPrefix(first, "https://") || strings.HasPrefix(first, "http://")
	switch {
	case !absolute && !strings.HasPrefix(first, "/"):
		return &flaw{fmt.Sprintf("redirect target %s is not a URL", quote(value)), example}
	case absolute && strings.HasSuffix(first, "://") && (len(parts) == 1 || parts[1].Is != policy.Host),
		absolute && strings.Contains(first, ":///"):
		return &flaw{fmt.Sprintf("redirect target %s has no host", quote(value)), example}
	case !absolute && (strings.HasPrefix(first, "//") || first == "/" && len(parts) > 1):
		// "/" and a path of "/evil.example" would together be a URL of another host.
		return &flaw{fmt.Sprintf("redirect target %s could lead to any host", quote(value)), "https://{host}{path}"}
	}
	// The host must have ended before {path} or {query}: after "https://good" a path is
	// safe only because it begins with a slash, a query is not.
	if absolute {
		if f := checkAuthority(value, parts); f != nil {
			return f
		}
	}
	d.Options.Redirect = &policy.Redirect{Parts: parts}
	return nil
}

// checkAuthority refuses a query, or a second host, as part of the host.
func checkAuthority(value string, parts []policy.Part) *flaw {
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

// parseParts splits the target of a redirect at its placeholders.
func parseParts(value string) ([]policy.Part, *flaw) {
	var parts []policy.Part
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
			parts = append(parts, policy.Part{Literal: literal})
			continue
		}
		found := false
		for _, p := range []policy.Placeholder{policy.Host, policy.Path, policy.Query} {
			if tail, ok := strings.CutPrefix(rest, p.String()); ok {
				parts, rest, found = append(parts, policy.Part{Is: p}), tail, true
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
