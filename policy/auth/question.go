package auth

import (
	"bytes"
	"net/http"
	"strings"

	"serai/internal/urlpath"
	"serai/policy"
	"serai/wire"
)

const proxyAuthorization = "Proxy-Authorization"

// saidFields are the fields in which the service is told what a client has asked for, by
// their names in lower case.
type saidFields struct{ method, uri, host []byte }

// said is what a trusted proxy says of these, where the block believes it. A field that
// comes twice says nothing: the proxy may have added its own to that of a stranger.
func (f *Forward) said(r policy.Request) (s saidFields) {
	if !f.trustForwarded || !r.FromTrusted() {
		return s
	}
	fields := r.Received().Fields
	return saidFields{only(fields, "x-forwarded-method"), only(fields, "x-forwarded-uri"), only(fields, "x-forwarded-host")}
}

// only is the value of a field that comes once, nil for none.
func only(fields []wire.Field, lower string) (value []byte) {
	for i := range fields {
		if f := &fields[i]; wire.EqualFold(f.Name, lower) {
			if value != nil {
				return nil
			}
			value = f.Value
		}
	}
	if len(value) == 0 {
		return nil
	}
	return value
}

// leads reports whether the path has dot segments, in any reading. A service with a rule for
// /public/ and the instance may disagree on where /public/..%2fadmin leads. Clients resolve
// these segments themselves (RFC 3986 section 5.2.4).
func (f *Forward) leads(r policy.Request) bool {
	if urlpath.HasDots(r.Received().Path) {
		return true
	}
	path, _, _ := bytes.Cut(f.said(r).uri, []byte("?"))
	return urlpath.HasDots(path)
}

// question makes the request to the service: a GET with what the client has sent, as far
// as it goes on to an instance, and what it has asked for.
func (f *Forward) question(r policy.Request) *http.Request {
	asked, said := r.Received(), f.said(r)
	q := &http.Request{Method: "GET", URL: f.url, Host: f.host, Header: make(http.Header), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	var fields [64]wire.Field
	for _, field := range r.AppendForwarded(fields[:0]) {
		if goesToService(&field) {
			name := http.CanonicalHeaderKey(string(field.Name))
			q.Header[name] = append(q.Header[name], string(field.Value))
		}
	}
	for i := range asked.Fields { // which AppendForwarded leaves out, since the instance does not get them
		if field := &asked.Fields[i]; field.Kind != wire.Dropped && wire.EqualFold(field.Name, "proxy-authorization") {
			q.Header[proxyAuthorization] = append(q.Header[proxyAuthorization], string(field.Value))
		}
	}
	set := func(name string, said, own []byte) {
		if said == nil {
			said = own
		}
		if said != nil {
			q.Header[name] = []string{string(said)}
		}
	}
	set("X-Forwarded-Method", said.method, asked.Method)
	set("X-Forwarded-Uri", said.uri, asked.Target)
	if uri := q.Header["X-Forwarded-Uri"]; len(uri) == 1 {
		uri[0] = plainURI(uri[0])
	}
	set("X-Forwarded-Host", said.host, nil)
	spellHost(q.Header)
	if q.Header["User-Agent"] == nil {
		q.Header["User-Agent"] = []string{""} // none, instead of the library's
	}
	return q
}

// plainURI is a target whose path has no letter encoded that need not be: a service with a
// rule for all but /admin must not take /%61dmin for another path than the instance does.
func plainURI(uri string) string {
	path, query, has := strings.Cut(uri, "?")
	if path = string(urlpath.Unreserved([]byte(path))); has {
		return path + "?" + query
	}
	return path
}

// spellHost writes the host as routes are looked up, in both fields that have it.
func spellHost(h http.Header) {
	host := h["X-Forwarded-Host"]
	if len(host) != 1 {
		return
	}
	asked := host[0]
	host[0] = plainHost(asked)
	if host[0] == asked {
		return
	}
	for i, f := range h["Forwarded"] {
		h["Forwarded"][i] = strings.ReplaceAll(f, `host="`+asked+`"`, `host="`+host[0]+`"`)
	}
}

// plainHost is a host, perhaps with a port, spelled as routes are looked up: in lower case
// and without the dot of a complete name. A service that has rules for app.example.org must
// not take APP.example.org. for another host than serai does.
func plainHost(host string) string {
	end := len(host)
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		end = colon
	}
	return strings.TrimSuffix(strings.ToLower(host[:end]), ".") + host[end:]
}
