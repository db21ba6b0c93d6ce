package policy

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"

	"serai/wire"
)

// CORS says which other origins may read the answers of a route (Fetch standard, section
// "CORS protocol").
type CORS struct {
	// Origins are scheme://host, with a port that is not the scheme's own; with "*." for
	// one label; "null"; or "*" for all.
	Origins []string
	// Methods and Headers are what a preflight may ask for, Expose are fields of answers
	// that scripts may read. "*" stands for all. The names are as written.
	Methods, Headers, Expose []string
	// Credentials lets requests have cookies and the like.
	Credentials bool
	// MaxAge is how long a preflight is good for; negative says nothing.
	MaxAge time.Duration
}

// ErrCORSDenied is the answer to a preflight for what a route's cors does not allow.
var ErrCORSDenied = &wire.Error{Status: 403, Code: "cors-denied", Detail: "this route does not let this origin make such requests"}

// CORSPreflight is the code of the answer to any other preflight, which has no content.
var CORSPreflight = &wire.Error{Status: 204, Code: "cors-preflight"}

// cors answers preflights, and tells browsers with every answer whether the origin may
// read it. What the instance says of that is removed: of two Access-Control-Allow-Origin
// browsers believe none.
type cors struct {
	CORS
	any       bool // every origin, without credentials
	wildcards []wildcardOrigin
	preflight []wire.Field // of the answer to one that is allowed
	expose    wire.Field   // without a name for none
}

// wildcardOrigin is an origin in which one label may be any.
type wildcardOrigin struct{ before, after string }

var (
	_ RequestPolicy = (*cors)(nil)
	_ AnswerPolicy  = (*cors)(nil)
)

func compileCORS(o *OfRoute) Policy {
	if o.CORS == nil {
		return nil
	}
	p := &cors{CORS: *o.CORS, any: slices.Contains(o.CORS.Origins, "*")}
	for _, origin := range p.Origins {
		if before, after, ok := strings.Cut(origin, "*"); ok && after != "" {
			p.wildcards = append(p.wildcards, wildcardOrigin{before, after})
		}
	}
	p.preflight = append(p.preflight, field("Access-Control-Allow-Methods", strings.Join(p.Methods, ", ")))
	if len(p.Headers) > 0 {
		p.preflight = append(p.preflight, field("Access-Control-Allow-Headers", strings.Join(p.Headers, ", ")))
	}
	if p.MaxAge >= 0 {
		p.preflight = append(p.preflight, field("Access-Control-Max-Age", strconv.Itoa(int(p.MaxAge/time.Second))))
	}
	if len(p.Expose) > 0 {
		p.expose = field("Access-Control-Expose-Headers", strings.Join(p.Expose, ", "))
	}
	return p
}

// Names of request fields. Nobody changes them.
const (
	nameOrigin         = "origin"
	nameRequestMethod  = "access-control-request-method"
	nameRequestHeaders = "access-control-request-headers"
)

// corsNote is what the answer's phase must know of a request.
type corsNote struct{ preflight bool }

// Request implements RequestPolicy: it answers preflights, and no other request.
func (p *cors) Request(r Request, reply *Reply) (answered bool) {
	h := r.Received()
	if string(h.Method) != "OPTIONS" {
		return false
	}
	method := wire.Get(h.Fields, nameRequestMethod)
	if method == nil || wire.Get(h.Fields, nameOrigin) == nil {
		return false
	}
	r.Learned().cors.preflight = true
	if !p.any && p.origin(r) == nil || !p.allowsMethod(method) || !p.allowsHeaders(h.Fields) {
		reply.refuse(ErrCORSDenied)
		return true
	}
	reply.refuse(CORSPreflight)
	reply.Fields = append(reply.Fields, p.preflight...)
	return true
}

// allows reports whether an origin is one of those that are allowed: byte by byte, as
// browsers compare them (RFC 6454 section 6.2).
func (p *cors) allows(origin []byte) bool {
	for _, o := range p.Origins {
		if string(origin) == o {
			return !strings.Contains(o, "*")
		}
	}
	for _, w := range p.wildcards {
		if w.matches(origin) {
			return true
		}
	}
	return false
}

func (w *wildcardOrigin) matches(origin []byte) bool {
	n := len(w.before) + len(w.after)
	if len(origin) <= n || string(origin[:len(w.before)]) != w.before || string(origin[len(origin)-len(w.after):]) != w.after {
		return false
	}
	for _, b := range origin[len(w.before) : len(origin)-len(w.after)] {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
			return false
		}
	}
	return true
}

// allowsMethod reports whether a method is among the Methods, whose case matters.
func (p *cors) allowsMethod(method []byte) bool {
	for _, m := range p.Methods {
		if m == "*" || string(method) == m {
			return true
		}
	}
	return false
}

// allowsHeaders reports whether all fields that a preflight names are among the Headers.
// "*" is not Authorization, as in browsers: that one has to be named.
func (p *cors) allowsHeaders(fields []wire.Field) bool {
	for i := range fields {
		if f := &fields[i]; wire.EqualFold(f.Name, nameRequestHeaders) {
			for list := f.Value; len(list) > 0; {
				var name []byte
				name, list, _ = bytes.Cut(list, comma)
				if name = bytes.TrimSpace(name); len(name) > 0 && !p.allowsHeader(name) {
					return false
				}
			}
		}
	}
	return true
}

func (p *cors) allowsHeader(name []byte) bool {
	for _, h := range p.Headers {
		if wire.EqualFold(name, h) || h == "*" && !wire.EqualFold(name, "authorization") {
			return true
		}
	}
	return false
}

// What is sent. Nobody changes these bytes.
var (
	comma            = []byte(",")
	nameAllowOrigin  = []byte("Access-Control-Allow-Origin")
	allowAny         = wire.Field{Name: nameAllowOrigin, Value: []byte("*")}
	allowCredentials = field("Access-Control-Allow-Credentials", "true")
	varyOrigin       = field("Vary", "Origin")
)

// Answer implements AnswerPolicy.
func (p *cors) Answer(a *Answer) {
	if a.Head.Status == 101 {
		return // the protocol does not know tunnels
	}
	// The answer to a preflight has the policy's own; those of all others come from an instance,
	// or from a service that an auth has asked.
	preflight := a.Request.Learned().cors.preflight
	for i := range a.Head.Fields {
		if f := &a.Head.Fields[i]; !preflight && isAccessControl(f.Name) {
			f.Kind = wire.Dropped
		}
	}
	if p.any {
		a.Add(allowAny)
	} else {
		a.varyBy(nameOrigin, varyOrigin)
		origin := p.origin(a.Request)
		if origin == nil {
			return
		}
		a.Add(wire.Field{Name: nameAllowOrigin, Value: origin})
		if p.Credentials {
			a.Add(allowCredentials)
		}
	}
	if p.expose.Name != nil && !preflight {
		a.Add(p.expose)
	}
}

// origin returns the origin of the request where it is allowed. Of several nobody knows
// which is the client's.
func (p *cors) origin(r Request) (origin []byte) {
	fields := r.Received().Fields
	for i := range fields {
		if f := &fields[i]; wire.EqualFold(f.Name, nameOrigin) {
			if origin != nil || !p.allows(f.Value) {
				return nil
			}
			origin = f.Value
		}
	}
	return origin
}

// isAccessControl reports whether a field is one of the protocol's.
func isAccessControl(name []byte) bool {
	const prefix = "access-control-"
	return len(name) > len(prefix) && wire.EqualFold(name[:len(prefix)], prefix)
}

// Explain implements Policy.
func (p *cors) Explain() string {
	s := "cors: preflights are answered here; "
	switch {
	case p.any:
		s += "scripts of every origin may read answers"
	default:
		s += "scripts of " + someOf(p.Origins) + " may read answers"
	}
	if p.Credentials {
		s += ", and send credentials"
	}
	s += "; they may use " + strings.Join(p.Methods, ", ")
	if len(p.Headers) > 0 {
		s += ", send " + strings.Join(p.Headers, ", ")
	}
	if len(p.Expose) > 0 {
		s += ", read " + strings.Join(p.Expose, ", ")
	}
	if p.MaxAge >= 0 {
		s += "; browsers may remember a preflight for " + p.MaxAge.String()
	}
	return s
}
