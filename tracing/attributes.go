package tracing

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"google.golang.org/genproto/googleapis/rpc/code"

	"serai/proxy"
)

// The attributes are those of OpenTelemetry's conventions for HTTP
// (https://opentelemetry.io/docs/specs/semconv/http/http-spans/), with the keys of the access
// log for what only serai has. Queries are left out, because they may have secrets.

// valid returns text that Protobuf takes: one byte that is not UTF-8 would lose a whole batch.
func valid(text string) string {
	if utf8.ValidString(text) {
		return text // nearly all, and many times as fast
	}
	return strings.ToValidUTF8(text, "\uFFFD")
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

// requestAttributes adds those of the span of a request.
func (m *spanMaker) requestAttributes(t *proxy.Trace, method string) {
	q, a := &t.Request, &m.span
	_, _, original := methodOf(q.Method)
	scheme := "http"
	if q.Secure {
		scheme = "https"
	}
	a.attributeText(semconv.HTTPRequestMethodKey, method)
	a.attributeText(semconv.HTTPRequestMethodOriginalKey, original)
	a.attributeText(semconv.URLSchemeKey, scheme)
	a.attributeText(semconv.URLPathKey, q.Path)
	a.attributeText(semconv.HTTPRouteKey, q.RoutePath)
	host, port := splitPort(q.Host)
	a.attributeText(semconv.ServerAddressKey, host)
	a.attributeNumber(semconv.ServerPortKey, int64(port))
	if q.Client.IsValid() {
		a.attributeText(semconv.ClientAddressKey, q.Client.String())
	}
	if q.Peer.IsValid() {
		a.attributeText(semconv.NetworkPeerAddressKey, q.Peer.Addr().String())
		a.attributeNumber(semconv.NetworkPeerPortKey, int64(q.Peer.Port()))
	}
	a.attributeText(semconv.NetworkProtocolVersionKey, protocolVersion(q.Protocol))
	a.attributeText(semconv.UserAgentOriginalKey, q.UserAgent)
	a.attributeNumber(semconv.HTTPResponseStatusCodeKey, int64(q.Status))
	a.attributeNumber(semconv.HTTPRequestBodySizeKey, q.BytesIn)
	a.attributeNumber(semconv.HTTPResponseBodySizeKey, q.BytesOut)
	errorType := q.Reason
	if q.GRPC >= 0 {
		a.attributeText(semconv.RPCSystemNameKey, "grpc")
		a.attributeText(semconv.RPCResponseStatusCodeKey, code.Code(q.GRPC).String())
		if q.Failed {
			errorType = cmp.Or(errorType, code.Code(q.GRPC).String())
		}
	}
	if q.Status >= 500 {
		errorType = cmp.Or(errorType, strconv.Itoa(q.Status))
	}
	if q.Failed || q.Status == 0 {
		a.attributeText(semconv.ErrorTypeKey, errorType)
	}
	a.attributeText("serai.reason", q.Reason)
	a.attributeText("serai.namespace", q.Namespace)
	a.attributeText("serai.service", q.Service)
	a.attributeText("serai.route", q.Route)
	a.attributeText("serai.host", q.RouteHost)
	a.attributeNumber("serai.retries", int64(q.Retries))
	if q.Upgraded {
		a.attributeTrue("serai.upgraded")
	}
	if n := len(t.Attempts); n > 0 {
		a.attributeText("serai.alloc", t.Attempts[n-1].Alloc)
	}
}

// attemptAttributes adds those of the span of an attempt.
func (m *spanMaker) attemptAttributes(t *proxy.Trace, i int, method string) {
	x, a := &t.Attempts[i], &m.span
	_, _, original := methodOf(t.Request.Method)
	a.attributeText(semconv.HTTPRequestMethodKey, method)
	a.attributeText(semconv.HTTPRequestMethodOriginalKey, original)
	host, port := splitPort(x.Address)
	a.attributeText(semconv.ServerAddressKey, host)
	a.attributeNumber(semconv.ServerPortKey, int64(port))
	a.attributeText(semconv.URLFullKey, (&url.URL{Scheme: x.Scheme, Host: x.Address}).String()+t.Request.Target)
	version := "1.1"
	if x.HTTP2 {
		version = "2"
	}
	a.attributeText(semconv.NetworkProtocolVersionKey, version)
	a.attributeNumber(semconv.HTTPResponseStatusCodeKey, int64(x.Status))
	a.attributeNumber(semconv.HTTPRequestResendCountKey, int64(x.Resend))
	errorType := x.Reason
	if x.Status >= 400 {
		errorType = cmp.Or(errorType, strconv.Itoa(x.Status))
	}
	a.attributeText(semconv.ErrorTypeKey, errorType)
	a.attributeText("serai.alloc", x.Alloc)
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
