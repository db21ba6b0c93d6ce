package policy

import (
	"slices"
	"strings"

	"serai/wire"
)

// Bounds of the fields that a route may change in one kind of message: how many, and
// bytes of all their names and values as they are written. Most servers refuse heads
// that are much larger.
const (
	MaxFields     = 32
	MaxFieldBytes = 8 << 10
)

// ParseFieldSetting reads "NAME: VALUE" for a kind of message. The error is a *Mistake.
func ParseFieldSetting(of Message, s string) (FieldSetting, error) {
	name, value, valued := strings.Cut(s, ":")
	name = strings.Trim(name, " ")
	if !valued {
		return FieldSetting{}, mistake("", "there is no colon behind the name")
	}
	if err := CheckFieldName(of, name); err != nil {
		return FieldSetting{}, err
	}
	if of == AnswerMessage && strings.EqualFold(name, "strict-transport-security") {
		return FieldSetting{}, mistake("the key hsts, which sends it over https alone (RFC 6797 section 7.2)", "%s is not set as other fields are", name)
	}
	value = strings.Trim(value, " \t")
	if value == "" {
		return FieldSetting{}, mistake(of.removalKey()+"="+name, "the field %s has no value", name)
	}
	t, err := ParseTemplate(value)
	return FieldSetting{Name: name, Value: t}, err
}

// removalKey is the key that removes a field of such messages.
func (m Message) removalKey() string {
	if m == RequestMessage {
		return "request-remove"
	}
	return "response-remove"
}

// SameField reports whether a kind of message takes both names for one.
func SameField(of Message, a, b string) bool { return of.named([]byte(a), b) }

// CheckFieldName reports why a route may not change that field in a kind of message. The
// error is a *Mistake.
func CheckFieldName(of Message, name string) error {
	if !wire.IsToken(name) {
		return mistake("", "%+q is not the name of a field", name)
	}
	lower := strings.ToLower(name)
	for _, r := range reservations() {
		if r.takes(of, lower) {
			return mistake(r.instead, "the field %s is serai's: %s", name, r.why)
		}
	}
	// What resembles one of these is read as it by some (X_Forwarded_For).
	kind, _ := wire.LowerKind([]byte(lower))
	switch {
	case of == RequestMessage && kind == wire.Lookalike, kind == wire.XSeraiReason:
		return mistake("", "some servers read the field %s as one that is serai's", name)
	}
	return nil
}

// reservation keeps fields from being changed by routes.
type reservation struct {
	requests, answers bool
	// names are in lower case; one that ends in a dash is of all that begin so.
	names []string
	why   string
	// instead is what to write instead, empty for nothing.
	instead string
}

func (r *reservation) takes(of Message, lower string) bool {
	if of == RequestMessage && !r.requests || of == AnswerMessage && !r.answers {
		return false
	}
	return slices.ContainsFunc(r.names, func(name string) bool {
		return lower == name || strings.HasSuffix(name, "-") && strings.HasPrefix(lower, name)
	})
}

// reservations are for the fields that no route may change.
func reservations() []reservation {
	return []reservation{
		{requests: true, answers: true, why: "it frames messages, or is about one connection (RFC 9110 section 7.6.1)", names: []string{
			"content-length", "transfer-encoding", "te", "trailer", "connection", "upgrade", "keep-alive", "http2-settings",
			"proxy", "proxy-", "expect",
		}},
		{requests: true, answers: true, why: "it is part of the handshake of WebSockets", names: []string{"sec-websocket-"}},
		{requests: true, answers: true, why: "it says which way a message came", names: []string{"via", "x-serai-"}},
		{requests: true, why: "it says which host is asked", names: []string{"host"}, instead: "upstream-host=NAME"},
		{requests: true, why: "it says who the client is and what it asked for", names: []string{"forwarded", "x-forwarded-", "x-real-ip", "x-request-id"}},
		{answers: true, why: "it is made when there is none (RFC 9110 section 6.6.1)", names: []string{"date"}},
		{answers: true, why: "it is how a call of gRPC ends", names: []string{"grpc-status", "grpc-message", "grpc-status-details-bin"}},
	}
}
