package router

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"serai/policy"
)

// corsKeys are the keys for scripts of other origins.
func corsKeys() []key {
	return []key{{
		Key: Key{Name: "cors", Value: "ORIGIN,...", Default: "-", Example: "https://a.example.org,https://*.b.example.org",
			Meaning: "origins whose scripts may read the answers: `https://a.example.org`, with `*.` for one label, `null`, or `*` for all; preflights are answered here, and Access-Control fields of the instance are replaced ([docs/policies.md](policies.md#cors))"},
		parse: parseCORS,
		also:  []string{"cors-origin", "cors-origins", "cors-allow-origin", "access-control-allow-origin", "allow-origin", "enable-cors"},
		route: ofCORS(func(c *policy.CORS) string { return strings.Join(c.Origins, ",") }),
	}, {
		Key: Key{Name: "cors-methods", Value: "METHOD,...", Default: "GET,HEAD,POST", Example: "GET,PUT", With: "cors=https://a.example.org",
			Meaning: "methods that a preflight may ask for; `*` for all"},
		parse: func(d *draft, value string) *flaw {
			return eachElement(value, "method", func(s string) *flaw {
				switch {
				case !isToken(s) || len(s) > 32:
					return &flaw{fmt.Sprintf("%s is not a method", quote(s)), ""}
				case s != strings.ToUpper(s):
					return &flaw{fmt.Sprintf("method %s is not in upper case, and methods are case-sensitive", quote(s)), strings.ToUpper(s)}
				}
				d.cors.Methods = appendNew(d.cors.Methods, s)
				return nil
			})
		},
		also: []string{"cors-allow-methods", "access-control-allow-methods"},
		route: ofCORS(func(c *policy.CORS) string {
			if slices.Equal(c.Methods, corsMethods()) {
				return ""
			}
			return strings.Join(c.Methods, ",")
		}),
	}, {
		Key: Key{Name: "cors-headers", Value: "NAME,...", Default: "-", Example: "content-type,x-own", With: "cors=https://a.example.org",
			Meaning: "request headers that a preflight may ask for; `*` for all but Authorization"},
		parse: func(d *draft, value string) *flaw { return parseHeaderNames(&d.cors.Headers, value) },
		also:  []string{"cors-allow-headers", "access-control-allow-headers"},
		route: ofCORS(func(c *policy.CORS) string { return strings.Join(c.Headers, ",") }),
	}, {
		Key: Key{Name: "cors-expose", Value: "NAME,...", Default: "-", Example: "x-own", With: "cors=https://a.example.org",
			Meaning: "headers of answers that scripts may read, besides those that they always may; `*` for all"},
		parse: func(d *draft, value string) *flaw { return parseHeaderNames(&d.cors.Expose, value) },
		also:  []string{"cors-expose-headers", "access-control-expose-headers"},
		route: ofCORS(func(c *policy.CORS) string { return strings.Join(c.Expose, ",") }),
	}, {
		Key: Key{Name: "cors-credentials", Value: "true, false", Default: "false", Example: "true", With: "cors=https://a.example.org",
			Meaning: "`true`: such requests may have cookies, HTTP authentication and client certificates; not with `*` in any of these keys"},
		parse: func(d *draft, value string) (f *flaw) {
			d.cors.Credentials, f = wordList[bool]{{"true", true}, {"false", false}}.parse(value)
			return f
		},
		also: []string{"cors-allow-credentials", "access-control-allow-credentials"},
		route: ofCORS(func(c *policy.CORS) string {
			if !c.Credentials {
				return ""
			}
			return "true"
		}),
	}, {
		Key: Key{Name: "cors-max-age", Value: "DURATION", Default: "the browser's, 5s", Example: "10m", With: "cors=https://a.example.org",
			Meaning: "how long browsers may remember the answer to a preflight"},
		parse: func(d *draft, value string) (f *flaw) {
			d.cors.MaxAge, f = duration(value, 0, longest)
			if f == nil && d.cors.MaxAge%time.Second != 0 {
				f = &flaw{fmt.Sprintf("duration %s is not in whole seconds", quote(value)), ""}
			}
			return f
		},
		also: []string{"access-control-max-age"},
		route: ofCORS(func(c *policy.CORS) string {
			if c.MaxAge < 0 {
				return ""
			}
			return durationWord(c.MaxAge)
		}),
	}}
}

// corsMethods are those that a page may use without asking.
func corsMethods() []string { return []string{"GET", "HEAD", "POST"} }

// ofCORS makes a writer of one that needs a CORS.
func ofCORS(word func(*policy.CORS) string) func(*RouteOptions) string {
	return func(o *RouteOptions) string {
		if o.CORS == nil {
			return ""
		}
		return word(o.CORS)
	}
}

func parseHeaderNames(to *[]string, value string) *flaw {
	return eachElement(value, "header", func(s string) *flaw {
		if !isToken(s) {
			return &flaw{fmt.Sprintf("%s is not a header name", quote(s)), ""}
		}
		*to = appendNew(*to, strings.ToLower(s))
		return nil
	})
}

func parseCORS(d *draft, value string) *flaw {
	return eachElement(value, "origin", func(s string) *flaw {
		origin, f := parseOrigin(s)
		if f == nil {
			d.cors.Origins = appendNew(d.cors.Origins, origin)
		}
		return f
	})
}

// parseOrigin reads an origin, and writes it as browsers do: in lower case, without the
// scheme's own port (RFC 6454 section 6.2).
func parseOrigin(s string) (string, *flaw) {
	if s == "*" || s == "null" {
		return s, nil
	}
	const example = "https://a.example.org"
	scheme, rest, ok := strings.Cut(strings.ToLower(s), "://")
	switch {
	case !isASCII(s): // before anything else: U+212A (Kelvin sign) has become a k
		return "", &flaw{fmt.Sprintf("origin %s is not ASCII", quote(s)), "the name as DNS has it, which browsers send"}
	case !ok:
		return "", &flaw{fmt.Sprintf("origin %s has no scheme", quote(s)), "https://" + printable(s)}
	case !validScheme(scheme):
		return "", &flaw{fmt.Sprintf("origin %s has no valid scheme", quote(s)), example}
	case strings.ContainsAny(rest, "/?#@"):
		host := rest[:strings.IndexAny(rest+"/", "/?#")]
		host = host[strings.LastIndexByte(host, '@')+1:]
		return "", &flaw{fmt.Sprintf("origin %s has more than a scheme, a host and a port", quote(s)), printable(scheme + "://" + host)}
	}
	host, port := rest, ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, ']') {
		host, port = rest[:i], rest[i+1:]
		n, f := number(port, 1, 65535)
		if f != nil {
			return "", &flaw{fmt.Sprintf("origin %s has no valid port", quote(s)), printable(scheme + "://" + host)}
		}
		if port = ":" + strconv.Itoa(n); scheme == "http" && n == 80 || scheme == "https" && n == 443 {
			port = ""
		}
	}
	name, f := host, (*flaw)(nil)
	switch {
	case strings.Contains(host, ":") && !strings.HasPrefix(host, "["):
		f = &flaw{}
	case scheme == "http" || scheme == "https":
		name, f = parseHostPattern(host)
	case !isToken(host) || strings.Contains(host, "*"): // of an extension or an app
		f = &flaw{}
	}
	switch labels := strings.Count(name, "."); {
	case f != nil:
		return "", &flaw{fmt.Sprintf("origin %s has no valid host", quote(s)), example}
	case name == "*":
		return "", &flaw{fmt.Sprintf("origin %s is every origin of its scheme", quote(s)), "https://*.example.org, or * for all"}
	case strings.HasPrefix(name, "*") && labels < 2:
		return "", &flaw{fmt.Sprintf("origin %s is every name of a whole top-level domain", quote(s)), "https://*.example.org"}
	}
	return scheme + "://" + name + port, nil
}

// validScheme reports whether s is a scheme in lower case (RFC 3986 section 3.1).
func validScheme(s string) bool {
	for i := range len(s) {
		switch b := s[i]; {
		case 'a' <= b && b <= 'z':
		case i > 0 && ('0' <= b && b <= '9' || b == '+' || b == '-' || b == '.'):
		default:
			return false
		}
	}
	return s != ""
}

// finishCORS checks what only all tags of the cors together show.
func (d *draft) finishCORS(seen map[string]bool) *flaw {
	c := d.cors
	if len(c.Origins) == 0 {
		for _, key := range []string{"cors-methods", "cors-headers", "cors-expose", "cors-credentials", "cors-max-age"} {
			if seen[key] {
				return &flaw{key + " has no effect without cors", "cors=https://a.example.org, or no " + key}
			}
		}
		return nil
	}
	methods := slices.IndexFunc(d.Conditions, func(c Condition) bool { return c.Kind == OnMethod })
	switch {
	case len(c.Origins) > 1 && slices.Contains(c.Origins, "*"):
		return &flaw{"cors has * beside other origins, although it is all of them", "cors=*, or a list without it"}
	case c.Credentials && slices.ContainsFunc([][]string{c.Origins, c.Methods, c.Headers, c.Expose}, func(l []string) bool { return slices.Contains(l, "*") }):
		return &flaw{"cors-credentials=true with * would let every page act as its visitor", "the origins, methods and headers by name"}
	case methods >= 0 && !slices.Contains(d.Conditions[methods].Methods, "OPTIONS"):
		return &flaw{"cors on a route whose method condition leaves out OPTIONS, which preflights use", "method=" + strings.Join(append(slices.Clone(d.Conditions[methods].Methods), "OPTIONS"), ",")}
	}
	if len(c.Methods) == 0 {
		c.Methods = corsMethods()
	}
	if !seen["cors-max-age"] {
		c.MaxAge = -1
	}
	d.Options.CORS = &c
	return nil
}
