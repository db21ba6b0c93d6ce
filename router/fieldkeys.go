package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"serai/internal/coding"
	"serai/policy"
	"serai/upstream"
)

// fieldKeys are the keys that change what an instance, or a client, gets to see: the
// path, and fields.
func fieldKeys() []key {
	return []key{{
		named: once,
		Key: Key{Name: "rewrite", Value: "REGEX REPLACEMENT", Default: "-", Example: "^/v1/(.*)$ /$1",
			Meaning: "the first part of the path that the regular expression (RE2) matches is replaced in the request to the instance; `$1`, `${name}` stand for groups; behind `strip`"},
		parse:  parseRewrite,
		also:   []string{"rewrite-target", "replace-path", "replacepathregex"},
		member: func(m *upstream.Member, _ *upstream.Target) string { return m.Rewrite.String() },
	}, {
		named: once,
		Key: Key{Name: "prepend", Value: "/PREFIX", Default: "-", Example: "/app",
			Meaning: "prefix that is put before the path of the request to the instance, behind `strip` and `rewrite`"},
		parse:  parsePrepend,
		also:   []string{"add-prefix", "addprefix", "path-prefix"},
		member: func(m *upstream.Member, _ *upstream.Target) string { return m.Prepend },
	}, {
		Key: Key{Name: "request-set", Value: "NAME: VALUE", Default: "-", Example: "X-Asked: {host}{path}",
			Meaning: "field that requests to the instances get, in place of the client's; the value may have `{host}`, `{path}`, `{client}`, `{request-id}`, `{tls-version}`, `{sni}`, `{trace-id}`, and `{{` for a brace; may be repeated"},
		parse: parseRequestSet, repeated: true,
		also:  []string{"request-header", "add-request-header", "customrequestheaders", "set-header"},
		route: func(o *RouteOptions) string { return settingWords(o.RequestSet) },
	}, {
		Key: Key{Name: "request-remove", Value: "NAME", Default: "-", Example: "X-Debug",
			Meaning: "field that the client's requests lose on their way to the instances; may be repeated"},
		parse: parseRequestRemove, repeated: true,
		also:  []string{"remove-request-header", "del-header"},
		route: func(o *RouteOptions) string { return strings.Join(o.RequestRemove, "\n") },
	}, {
		Key: Key{Name: "response-set", Value: "NAME: VALUE", Default: "-", Example: "X-Frame-Options: DENY",
			Meaning: "field that answers get, in place of the instance's, also answers of serai itself; with the placeholders of `request-set`; may be repeated"},
		parse: parseResponseSet, repeated: true,
		also:  []string{"response-header", "add-response-header", "customresponseheaders", "add-header"},
		route: func(o *RouteOptions) string { return settingWords(o.ResponseSet) },
	}, {
		Key: Key{Name: "response-remove", Value: "NAME", Default: "-", Example: "X-Powered-By",
			Meaning: "field that answers lose on their way to the client; may be repeated"},
		parse: parseResponseRemove, repeated: true,
		also:  []string{"remove-response-header", "hide-header"},
		route: func(o *RouteOptions) string { return strings.Join(o.ResponseRemove, "\n") },
	}, {
		named: once,
		Key: Key{Name: "compress", Value: "CODING,...", Default: "-", Example: "zstd,gzip",
			Meaning: "codings in which clients that take them get text of 1 KiB and more: `zstd`, `br`, `gzip`, what is preferred first ([docs/policies.md](policies.md#compress))"},
		parse: parseCompress,
		also:  []string{"gzip", "brotli", "compression", "encode", "zstd"},
		route: func(o *RouteOptions) string {
			words := make([]string, len(o.Compress))
			for i, c := range o.Compress {
				words[i] = c.String()
			}
			return strings.Join(words, ",")
		},
	}, {
		named: once,
		Key: Key{Name: "access-log", Value: "on, off", Default: "on", Example: "off",
			Meaning: "`off`: requests of this route have no line in the access log; they are counted as all others"},
		parse: parseAccessLog,
		also:  []string{"accesslog", "log"},
		route: func(o *RouteOptions) string {
			if !o.NoAccessLog {
				return ""
			}
			return "off"
		},
	}, {
		named: once,
		Key: Key{Name: "trace", Value: "on, off", Default: "on", Example: "off",
			Meaning: "`off`: requests of this route are not traced, where serai traces (`--otlp`)"},
		parse: parseTrace,
		also:  []string{"tracing", "otel", "traces"},
		route: func(o *RouteOptions) string {
			if !o.NoTrace {
				return ""
			}
			return "off"
		},
	}}
}

// mistaken is what a policy says of a value as a flaw.
func mistaken(err error) *flaw {
	if err == nil {
		return nil
	}
	m := &policy.Mistake{}
	if errors.As(err, &m) {
		return &flaw{printable(m.Why), printable(m.Instead)}
	}
	return &flaw{printable(err.Error()), ""}
}

// parseRewrite reads the rewrite tag. Neither part contains a blank: no path does.
func parseRewrite(d *draft, value string) *flaw {
	pattern, replacement, _ := strings.Cut(value, " ")
	if replacement = trim(replacement); replacement == "" || strings.Contains(replacement, " ") {
		return &flaw{fmt.Sprintf("%s is not a regular expression, a blank, and a replacement", quote(value)), ""}
	}
	rewrite, err := policy.ParseRewrite(pattern, replacement)
	d.Instance.Rewrite = rewrite
	return mistaken(err)
}

// parsePrepend reads the prepend tag.
func parsePrepend(d *draft, value string) *flaw {
	f := checkPath(value)
	if f == nil {
		if d.Instance.Prepend = trimSlash(value); d.Instance.Prepend == "/" {
			d.Instance.Prepend = ""
		}
	}
	return f
}

func parseRequestSet(d *draft, value string) *flaw {
	return addSetting(policy.RequestMessage, value, &d.Options.RequestSet, d.Options.RequestRemove)
}

func parseRequestRemove(d *draft, value string) *flaw {
	return addRemoval(policy.RequestMessage, value, &d.Options.RequestRemove, d.Options.RequestSet)
}

func parseResponseSet(d *draft, value string) *flaw {
	return addSetting(policy.AnswerMessage, value, &d.Options.ResponseSet, d.Options.ResponseRemove)
}

func parseResponseRemove(d *draft, value string) *flaw {
	return addRemoval(policy.AnswerMessage, value, &d.Options.ResponseRemove, d.Options.ResponseSet)
}

func addSetting(of policy.Message, value string, set *[]policy.FieldSetting, removed []string) *flaw {
	s, err := policy.ParseFieldSetting(of, value)
	if err != nil {
		return mistaken(err)
	}
	if f := checkFields(of, s.Name, len(value), *set, removed); f != nil {
		return f
	}
	*set = append(*set, s)
	return nil
}

func addRemoval(of policy.Message, name string, removed *[]string, set []policy.FieldSetting) *flaw {
	if err := policy.CheckFieldName(of, name); err != nil {
		return mistaken(err)
	}
	if f := checkFields(of, name, len(name), set, *removed); f != nil {
		return f
	}
	*removed = append(*removed, name)
	return nil
}

// checkFields reports what is wrong with one field more, of so many bytes.
func checkFields(of policy.Message, name string, bytes int, set []policy.FieldSetting, removed []string) *flaw {
	same := func(other string) bool { return policy.SameField(of, name, other) }
	for _, s := range set {
		bytes += len(s.String())
	}
	for _, r := range removed {
		bytes += len(r)
	}
	switch {
	case slices.ContainsFunc(set, func(s policy.FieldSetting) bool { return same(s.Name) }), slices.ContainsFunc(removed, same):
		return &flaw{fmt.Sprintf("the field %s is given twice for this route", printable(name)), "one tag for each field"}
	case len(set)+len(removed) >= policy.MaxFields:
		return &flaw{fmt.Sprintf("the route changes more than %d fields", policy.MaxFields), "fewer of them"}
	case bytes > policy.MaxFieldBytes:
		return &flaw{fmt.Sprintf("the fields that the route changes have more than %d bytes", policy.MaxFieldBytes), "fewer or shorter ones"}
	}
	return nil
}

// settingWords are the settings, each on a line, which no tag contains.
func settingWords(settings []policy.FieldSetting) string {
	lines := make([]string, len(settings))
	for i, s := range settings {
		lines[i] = s.String()
	}
	return strings.Join(lines, "\n")
}

func parseAccessLog(d *draft, value string) *flaw {
	on, f := wordList[bool]{{"on", true}, {"off", false}}.parse(value)
	d.Options.NoAccessLog = !on
	return f
}

// parseTrace reads the trace tag.
func parseTrace(d *draft, value string) *flaw {
	on, f := wordList[bool]{{"on", true}, {"off", false}}.parse(value)
	d.Options.NoTrace = !on
	return f
}

// parseCompress reads the compress tag.
func parseCompress(d *draft, value string) *flaw {
	return eachElement(value, "coding", func(word string) *flaw {
		for _, c := range coding.Codings() {
			if c.String() == word && !slices.Contains(d.Options.Compress, c) {
				d.Options.Compress = append(d.Options.Compress, c)
				return nil
			} else if c.String() == word {
				return &flaw{fmt.Sprintf("the coding %s is given twice", word), "each coding once"}
			}
		}
		return &flaw{fmt.Sprintf("%s is not a coding", quote(word)), "some of: zstd, br, gzip"}
	})
}
