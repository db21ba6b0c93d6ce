package router

import (
	"cmp"
	"fmt"
	"strings"

	"serai/internal/urlpath"
	"serai/policy"
)

// errorKeys are the keys for the pages that answers with errors show.
func errorKeys() []key {
	return []key{{
		Key: Key{Name: "errors", Value: "STATUS,...", Default: "-", Example: "404,5xx",
			Meaning: "answers with these statuses, the instance's and serai's own, show a page of `errors-service` in place of their body: single ones, `4xx`, `5xx`; the status stays ([docs/policies.md](policies.md#error-pages))"},
		parse: func(d *draft, value string) *flaw {
			return eachElement(value, "status", func(s string) *flaw { return mistaken(d.errors.Statuses.Add(s)) })
		},
		also:  []string{"error-pages", "error-page", "errorpages", "errorpage", "custom-http-errors", "error-status", "errors-status"},
		route: ofErrors(func(e *policy.Errors) string { return e.Statuses.String() }),
	}, {
		Key: Key{Name: "errors-service", Value: "NAME", Default: "the service itself", Example: "pages", With: "errors=404",
			Meaning: "service of the same namespace that has the pages; it needs a route whose path takes them"},
		parse: parseErrorsService,
		also:  []string{"error-service", "errors-backend", "default-backend"},
		route: ofErrors(func(e *policy.Errors) string {
			if e.Namespace != "" {
				return e.Namespace + "/" + e.Service
			}
			return e.Service
		}),
	}, {
		Key: Key{Name: "errors-path", Value: "/PATH", Default: policy.DefaultErrorsTarget, Example: "/errors?code={status}", With: "errors=404",
			Meaning: "path of the pages, perhaps with a query; `{status}` stands for the status"},
		parse: parseErrorsPath,
		also:  []string{"error-path", "errors-query"},
		route: ofErrors(func(e *policy.Errors) string {
			if e.Target == policy.DefaultErrorsTarget {
				return ""
			}
			return e.Target
		}),
	}}
}

// ofErrors makes a writer of one that needs an Errors.
func ofErrors(word func(*policy.Errors) string) func(*RouteOptions) string {
	return func(o *RouteOptions) string {
		if o.Errors == nil {
			return ""
		}
		return word(o.Errors)
	}
}

// maxServiceName bounds the name of a service or namespace that a tag names, in bytes.
const maxServiceName = 128

// parseErrorsService reads a name; in the operator's file also NAMESPACE/NAME.
func parseErrorsService(d *draft, value string) *flaw {
	namespace, name, other := strings.Cut(value, "/")
	switch {
	case !other:
		namespace, name = "", value
	case !d.operators:
		return &flaw{fmt.Sprintf("%s is a service of a namespace: a tag names one of its own", quote(value)), "only the NAME, or a policy of the operator's file"}
	case !isServiceName(namespace):
		return &flaw{fmt.Sprintf("%s is not the name of a namespace", quote(namespace)), "NAME or NAMESPACE/NAME"}
	}
	if !isServiceName(name) {
		return &flaw{fmt.Sprintf("%s is not the name of a service", quote(name)), ""}
	}
	d.errors.Namespace, d.errors.Service = namespace, name
	return nil
}

// IsServiceName reports whether s may be the name of a service, or of a namespace.
func IsServiceName(s string) bool { return isServiceName(s) }

func isServiceName(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("-_.", s[i]) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= maxServiceName
}

// parseErrorsPath reads a path that names one page, whichever server reads it.
func parseErrorsPath(d *draft, value string) *flaw {
	path, err := policy.CheckErrorsTarget(value)
	if err != nil {
		return mistaken(err)
	}
	if path == "" || path[0] != '/' {
		return &flaw{fmt.Sprintf("path %s does not begin with a slash", quote(value)), "/" + printable(value)}
	}
	if f := checkPath(path); f != nil {
		return f
	}
	if !urlpath.Plain([]byte(path)) {
		return &flaw{fmt.Sprintf("servers may read path %s as another one", quote(value)), "a path without encoded letters, empty segments and semicolons"}
	}
	d.errors.Target = value
	return nil
}

// finishErrors checks what only all tags of the error pages together show.
func (r *reading) finishErrors() *flaw {
	if r.errors.Statuses.String() == "" {
		for _, key := range []string{"errors-service", "errors-path"} {
			if r.seen[key] {
				return &flaw{key + " has no effect without errors", "errors=404,5xx, or no " + key}
			}
		}
		return nil
	}
	e := r.errors
	e.Target = cmp.Or(e.Target, policy.DefaultErrorsTarget)
	r.Options.Errors = &e
	return nil
}
