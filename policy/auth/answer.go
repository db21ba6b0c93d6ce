package auth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"serai/policy"
	"serai/wire"
)

// DefaultAnswer bounds the head, and the body, of a service's answer, in bytes.
const DefaultAnswer = 64 << 10

// errAnswer is an answer that is of no use, and how; errAnswerLong one that is too long.
var (
	errAnswer     = errors.New("does not send a valid HTTP response")
	errAnswerLong = fmt.Errorf("%w: it is too long", errAnswer)
)

// answer is what a service says of a request.
type answer struct {
	status int
	fields http.Header
	body   []byte
}

// readAnswer reads an answer to its end, so that its connection can be used again; what
// is longer than it may be lets nobody in.
func readAnswer(res *http.Response, most int) (*answer, error) {
	defer res.Body.Close()
	if res.ProtoMajor != 1 && res.TLS == nil { // HTTP/2 is spoken where TLS has agreed on it
		return nil, fmt.Errorf("%w: %s", errAnswer, res.Proto)
	}
	if res.StatusCode < 200 || res.StatusCode > 599 || res.StatusCode == http.StatusNotModified {
		return nil, fmt.Errorf("%w: status %d", errAnswer, res.StatusCode)
	}
	for name, values := range res.Header {
		if !wire.IsToken(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return nil, fmt.Errorf("%w: a field is malformed", errAnswer)
		}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(most)+1))
	if err != nil {
		return nil, err
	}
	if len(body) > most {
		return nil, fmt.Errorf("%w: more than %d bytes", errAnswerLong, most)
	}
	return &answer{res.StatusCode, res.Header, body}, nil
}

// refuse answers with an error that proxy's table of reasons has.
func refuse(reply *policy.Reply, e *wire.Error) {
	reply.Status, reply.Reason, reply.Detail = e.Status, e.Code, e.Detail
}

// passes reports whether the request may go on.
func (a *answer) passes() bool { return a.status < 300 }

// deny makes the answer the client's. Cookies are learned, as where the request passes: such
// a one may bind a login under way to the browser.
func (a *answer) deny(reply *policy.Reply, learned *policy.Learned) {
	a.learnCookies(learned)
	refuse(reply, policy.ErrAuthDenied)
	reply.Status, reply.Body = a.status, a.body
	if reply.Body == nil {
		reply.Body = []byte{}
	}
	connection := strings.Join(a.fields["Connection"], ",")
	names := make([]string, 0, len(a.fields))
	for name := range a.fields {
		if goesToClient(name) && name != "Set-Cookie" && !wire.HasToken([]byte(connection), strings.ToLower(name)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range a.fields[name] {
			reply.Fields = append(reply.Fields, wire.Field{Name: []byte(name), Value: []byte(value)})
		}
	}
	if a.fields.Get("Cache-Control") == "" {
		reply.Fields = append(reply.Fields, wire.Field{Name: []byte("Cache-Control"), Value: []byte("no-store")})
	}
}

// letIn notes what the instance, and the client, are told.
func (a *answer) letIn(learned *policy.Learned, copied policy.Names) {
	learned.Forget(copied)
	for _, name := range copied {
		for _, value := range a.fields.Values(name) {
			learned.Forward = append(learned.Forward, learn(learned, name, value))
		}
	}
	a.learnCookies(learned)
}

// learnCookies notes the cookies that the service sets, such as that of a session that it has
// renewed.
func (a *answer) learnCookies(learned *policy.Learned) {
	for _, cookie := range a.fields.Values("Set-Cookie") {
		learned.Answer = append(learned.Answer, learn(learned, "Set-Cookie", cookie))
	}
}

// learn makes a field that stays as long as the request.
func learn(learned *policy.Learned, name, value string) wire.Field {
	v := &learned.Values
	return wire.Field{Name: v.Keep(append(v.Start(), name...)), Value: v.Keep(append(v.Start(), value...))}
}

// goesToService reports whether a field of the client's, or one that serai makes, is
// sent to the service. It gets no body, and no answer that was made for other conditions
// than the client's to the instance.
func goesToService(f *wire.Field) bool {
	switch f.Kind {
	case wire.Dropped, wire.ContentLength, wire.Trailer, wire.Expect, wire.TE:
		return false
	case wire.HeadOnly:
		// Authorization is for the service, conditions and ranges are not.
		return wire.EqualFold(f.Name, "authorization")
	}
	return !wire.EqualFold(f.Name, "accept-encoding") && !wire.EqualFold(f.Name, "content-encoding")
}

// goesToClient reports whether a field of the service's answer is sent to the client:
// framing, the connection and the date are serai's.
func goesToClient(name string) bool {
	switch wire.KindOf([]byte(name)) {
	case wire.Other, wire.HeadOnly:
		return !wire.Resembles([]byte(name), "X-Serai-Reason") && !wire.EqualFold([]byte(name), "alt-svc")
	}
	return false
}
