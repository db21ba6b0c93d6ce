package tracing

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/genproto/googleapis/rpc/code"

	"serai/proxy"
)

// The attributes are those of OpenTelemetry's conventions for HTTP
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), with the keys of the access
// log for what only serai has. Queries are left out, because they may have secrets.

// attributes are those of one span. What is empty or zero is left out.
type attributes []attribute.KeyValue

func (a *attributes) text(key attribute.Key, value string) {
	if value != "" {
		*a = append(*a, key.String(valid(value)))
	}
}

// valid returns text that Protobuf takes: one byte that is not UTF-8 would lose a whole batch.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (a *attributes) number(key attribute.Key, value int64) {
	if value != 0 {
		*a = append(*a, key.Int64(value))
	}
}

// methodOf returns a request's method as OpenTelemetry writes it, the name of a span, and the
// method as it came if that is another one.
func methodOf(method string) (known, name, original string) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY":
		return method, method, ""
	}
	return "_OTHER", "HTTP", method
}

// requestAttributes are those of the span of a request, until the next one's are made.
func (m *spanMaker) requestAttributes(t *proxy.Trace, method string) []attribute.KeyValue {
	q := &t.Request
	_, _, original := methodOf(q.Method)
	scheme := "http"
	if q.Secure {
		scheme = "https"
	}
	a := m.about[:0]
	a.text(semconv.HTTPRequestMethodKey, method)
	a.text(semconv.HTTPRequestMethodOriginalKey, original)
	a.text(semconv.URLSchemeKey, scheme)
	a.text(semconv.URLPathKey, q.Path)
	a.text(semconv.HTTPRouteKey, q.RoutePath)
	host, port := splitPort(q.Host)
	a.text(semconv.ServerAddressKey, host)
	a.number(semconv.ServerPortKey, int64(port))
	if q.Client.IsValid() {
		a.text(semconv.ClientAddressKey, q.Client.String())
	}
	if q.Peer.IsValid() {
		a.text(semconv.NetworkPeerAddressKey, q.Peer.Addr().String())
		a.number(semconv.NetworkPeerPortKey, int64(q.Peer.Port()))
	}
	a.text(semconv.NetworkProtocolVersionKey, protocolVersion(q.Protocol))
	a.text(semconv.UserAgentOriginalKey, q.UserAgent)
	a.number(semconv.HTTPResponseStatusCodeKey, int64(q.Status))
	a.number(semconv.HTTPRequestBodySizeKey, q.BytesIn)
	a.number(semconv.HTTPResponseBodySizeKey, q.BytesOut)
	errorType := q.Reason
	if q.GRPC >= 0 {
		a.text(semconv.RPCSystemNameKey, "grpc")
		a.text(semconv.RPCResponseStatusCodeKey, code.Code(q.GRPC).String())
		if q.Failed {
			errorType = cmp.Or(errorType, code.Code(q.GRPC).String())
		}
	}
	if q.Status >= 500 {
		errorType = cmp.Or(errorType, strconv.Itoa(q.Status))
	}
	if q.Failed || q.Status == 0 {
		a.text(semconv.ErrorTypeKey, errorType)
	}
	a.text("serai.reason", q.Reason)
	a.text("serai.namespace", q.Namespace)
	a.text("serai.service", q.Service)
	a.text("serai.route", q.Route)
	a.text("serai.host", q.RouteHost)
	a.number("serai.retries", int64(q.Retries))
	if q.Upgraded {
		a = append(a, attribute.Bool("serai.upgraded", true))
	}
	if n := len(t.Attempts); n > 0 {
		a.text("serai.alloc", t.Attempts[n-1].Alloc)
	}
	m.about = a
	return a
}

// attemptAttributes are those of the span of an attempt, until the next one's are made.
func (m *spanMaker) attemptAttributes(t *proxy.Trace, i int, method string) []attribute.KeyValue {
	x := &t.Attempts[i]
	_, _, original := methodOf(t.Request.Method)
	a := m.about[:0]
	a.text(semconv.HTTPRequestMethodKey, method)
	a.text(semconv.HTTPRequestMethodOriginalKey, original)
	host, port := splitPort(x.Address)
	a.text(semconv.ServerAddressKey, host)
	a.number(semconv.ServerPortKey, int64(port))
	a.text(semconv.URLFullKey, (&url.URL{Scheme: x.Scheme, Host: x.Address}).String()+t.Request.Target)
	version := "1.1"
	if x.HTTP2 {
		version = "2"
	}
	a.text(semconv.NetworkProtocolVersionKey, version)
	a.number(semconv.HTTPResponseStatusCodeKey, int64(x.Status))
	a.number(semconv.HTTPRequestResendCountKey, int64(x.Resend))
	errorType := x.Reason
	if x.Status >= 400 {
		errorType = cmp.Or(errorType, strconv.Itoa(x.Status))
	}
	a.text(semconv.ErrorTypeKey, errorType)
	a.text("serai.alloc", x.Alloc)
	m.about = a
	return a
}

// protocolVersion is a protocol's version as OpenTelemetry writes it: 1.1, 2.
func protocolVersion(protocol string) string {
	switch protocol {
	case "HTTP/2.0":
		return "2"
	case "":
		return ""
	}
	return protocol[len("HTTP/"):]
}
