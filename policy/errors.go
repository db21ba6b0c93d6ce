package policy

import (
	"fmt"
	"strconv"
	"strings"

	"serai/wire"
)

// Errors says which answers of a route show a page of another service in place of their
// own body. Never modified once parsed.
type Errors struct {
	Statuses Statuses
	// Namespace and Service have the pages; where one is empty it is the route's own.
	// Only the operator may name another namespace.
	Namespace, Service string
	// Target is the path of a page, perhaps with a query. "{status}" stands for the
	// status.
	Target string
}

// DefaultErrorsTarget is the target of pages where none is given.
const DefaultErrorsTarget = "/{status}.html"

// Statuses are statuses of errors, 400 to 599.
type Statuses struct {
	written []string
	set     [2][100]bool // of 4xx, and of 5xx
}

// Add adds a status, or with "4xx" or "5xx" all that begin so.
func (s *Statuses) Add(written string) error {
	const instead = "a status from 400 to 599, 4xx or 5xx"
	if len(written) != 3 || written[0] != '4' && written[0] != '5' {
		return mistake(instead, "%q is not the status of an error", written)
	}
	class := &s.set[written[0]-'4']
	if written[1:] == "xx" {
		for i := range class {
			class[i] = true
		}
	} else {
		n, err := strconv.ParseUint(written[1:], 10, 8)
		if err != nil {
			return mistake(instead, "%q is not the status of an error", written)
		}
		class[n] = true
	}
	for _, known := range s.written {
		if known == written {
			return nil
		}
	}
	s.written = append(s.written, written)
	return nil
}

// Has reports whether a status is one of them.
func (s *Statuses) Has(status int) bool {
	return 400 <= status && status < 600 && s.set[status/100-4][status%100]
}

// String returns them as their tag writes them.
func (s *Statuses) String() string { return strings.Join(s.written, ",") }

// maxErrorsTarget bounds the target of pages, in bytes.
const maxErrorsTarget = 512

// CheckErrorsTarget reports what is wrong with the target of pages, apart from its path
// where the status stands in it, which the caller checks as it checks other paths: it is
// returned with such a status.
func CheckErrorsTarget(target string) (path string, err error) {
	path, query, _ := strings.Cut(strings.ReplaceAll(target, "{status}", "404"), "?")
	switch {
	case len(target) > maxErrorsTarget:
		return "", mistake("a shorter one", "the path of pages has more than %d bytes", maxErrorsTarget)
	case strings.ContainsAny(path+query, "{}"):
		return "", mistake(DefaultErrorsTarget, "the path of pages has a brace that is not of {status}, which is all that may stand for something")
	}
	for i := range len(query) {
		if b := query[i]; b <= ' ' || b >= 0x7f || strings.IndexByte("\"<>\\^`|#", b) >= 0 {
			return "", mistake(fmt.Sprintf("%%%02X in its place", b), "the query of pages contains a byte that no query has")
		}
	}
	return path, nil
}

// AppendTarget appends the target of the page for a status.
func (e *Errors) AppendTarget(dst []byte, status int) []byte {
	for rest := e.Target; rest != ""; {
		before, after, found := strings.Cut(rest, "{status}")
		if dst = append(dst, before...); found {
			dst = strconv.AppendInt(dst, int64(status), 10)
		}
		rest = after
	}
	return dst
}

// Page is what describes the body of a page.
type Page struct {
	// Type and Language are the values of Content-Type and Content-Language, nil for
	// none.
	Type, Language []byte
}

// errorPages puts what describes a page in the place of what describes the body that is
// not sent. Whoever sends the answer has got the page: see List.Errors.
type errorPages struct{ *Errors }

var _ AnswerPolicy = errorPages{}

func compileErrors(o *OfRoute) Policy {
	if o.Errors == nil {
		return nil
	}
	return errorPages{o.Errors}
}

// Errors returns what the list says of answers with that status, nil if they show no page.
func (l *List) Errors(status int) *Errors {
	if l == nil || l.errors == nil || !l.errors.Statuses.Has(status) {
		return nil
	}
	return l.errors
}

// Pages returns what the list says of pages for answers with errors, nil for nothing.
func (l *List) Pages() *Errors {
	if l == nil {
		return nil
	}
	return l.errors
}

var nameContentType, nameContentLanguage = []byte("Content-Type"), []byte("Content-Language")

// Answer implements AnswerPolicy. Whatever is about the request, the connection or the
// client stays: cookies, WWW-Authenticate, Retry-After, Cache-Control.
func (errorPages) Answer(a *Answer) {
	if a.Page == nil {
		return
	}
	for i := range a.Head.Fields {
		if f := &a.Head.Fields[i]; describesBody(f, a.Head.Status) {
			f.Kind = wire.Dropped
		}
	}
	if a.Page.Type != nil {
		a.Add(wire.Field{Name: nameContentType, Value: a.Page.Type})
	}
	if a.Page.Language != nil {
		a.Add(wire.Field{Name: nameContentLanguage, Value: a.Page.Language})
	}
}

// describesBody reports whether a field of an answer is about the body that comes with
// it (RFC 9110 sections 8 and 14, RFC 9530). The Content-Range of a 416 is about the
// resource.
func describesBody(f *wire.Field, status int) bool {
	switch f.Kind {
	case wire.ContentLength, wire.Trailer, wire.TransferEncoding:
		return true
	case wire.Dropped:
		return false
	}
	const content = "content-"
	if len(f.Name) > len(content) && wire.EqualFold(f.Name[:len(content)], content) {
		return !wire.EqualFold(f.Name[:min(len(f.Name), len(contentSecurity))], contentSecurity) && !(status == 416 && wire.EqualFold(f.Name, "content-range"))
	}
	for _, name := range bodyFields {
		if wire.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// contentSecurity begins Content-Security-Policy, and -Report-Only, which say what pages
// of the site may do.
const contentSecurity = "content-security-policy"

// bodyFields are the others than Content-* that are about a body.
var bodyFields = [...]string{"etag", "last-modified", "accept-ranges", "digest", "repr-digest", "want-repr-digest"}

// Explain implements Policy.
func (p errorPages) Explain() string {
	of := "the service itself"
	if p.Service != "" {
		of = "the service " + p.Service
	}
	if p.Namespace != "" {
		of += " of namespace " + p.Namespace
	}
	return fmt.Sprintf("errors: the body of answers with the status %s is %s of %s, if that can be had; the status stays", p.Statuses.String(), p.Target, of)
}

// OpenTo reports whether a request that has passed the guards of passed, nil for none, has
// passed those of l, too. Rates do not count: they are about clients.
func (l *List) OpenTo(passed *List) bool {
	if l == nil {
		return true
	}
	for _, guard := range l.guards {
		if _, ok := guard.(Rate); ok {
			continue
		}
		if passed == nil || !passed.hasGuard(guard) {
			return false
		}
	}
	return true
}

func (l *List) hasGuard(guard any) bool {
	for _, g := range l.guards {
		if sameGuard(g, guard) {
			return true
		}
	}
	return false
}
