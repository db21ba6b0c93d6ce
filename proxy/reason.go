package proxy

import (
	"cmp"

	"serai/policy"
	"serai/wire"
)

// Reason is why serai answered instead of an instance, or ended a request without a
// complete answer: an index into the table of reasons. Malformed or oversized requests
// have the code of their wire.Error instead.
type Reason uint8

// All reasons, in the order of their documentation.
const (
	ReasonNoHost Reason = iota
	ReasonNoPath
	ReasonNoCondition
	ReasonMisdirected
	ReasonRedirect
	ReasonChallenge
	ReasonMaxForwards
	ReasonConnectFailed
	ReasonHandshakeFailed
	ReasonUpstreamClosed
	ReasonUpstreamLost
	ReasonBadAnswer
	ReasonTooManyInterim
	ReasonNoInstance
	ReasonQueueFull
	ReasonNoDescriptor
	ReasonOverloaded
	ReasonStarting
	ReasonNotReady
	ReasonUpstreamTimeout
	ReasonLoop
	ReasonPlainHTTP
	ReasonProxyHeader
	ReasonHeadTimeout
	ReasonBodyTimeout
	ReasonBodySlow
	ReasonUpstreamCut
	ReasonUpstreamIdle
	ReasonClientGone
	ReasonDrainTimeout
	ReasonTunnelCut
	ReasonPanic
	ReasonTLSHandshake
	ReasonRetryBudget
	ReasonNoHTTP2
	ReasonUpstreamRefused
	ReasonNoUpgrade
	ReasonAuthRequired
	ReasonAuthDenied
	ReasonAuthBusy
	ReasonAuthUnavailable
	ReasonAuthLogin
	ReasonIPDenied
	ReasonRateLimited
	ReasonCORSDenied
	ReasonCORSPreflight
	ReasonGuardRefused
	ReasonDisguisedPath
	ReasonDisguisedMethod
	ReasonBadRewrite
	ReasonNoIdentity
	ReasonConnectDenied
	ReasonStopping
)

// ReasonEntry is the entry of a Reason in the table.
type ReasonEntry struct {
	// Code is the word in X-Serai-Reason, the access log and the metrics.
	Code string
	// Status is the status of the answer. It is 0 if there is no answer: then the reason
	// appears only in the log and in the metrics.
	Status int
	// Detail is what the client is told, unless there is something more specific.
	Detail string
	// Meaning is its line of documentation.
	Meaning string
}

// reasons has an entry for each Reason. It never changes.
var reasons = [...]ReasonEntry{
	ReasonNoHost:          {"no-host", 404, "no route for this host", "no route takes this host"},
	ReasonNoPath:          {"no-path", 404, "no route of this host takes this path", "routes take this host, none this path"},
	ReasonNoCondition:     {"no-condition", 404, "no route of this host and path takes this request", "routes take this host and path, but want another method, header or query"},
	ReasonMisdirected:     {"misdirected", 421, "this connection is not for this host: open another one", "the TLS connection is not for this host, or the host demands a client certificate: [docs/tls.md](docs/tls.md)"},
	ReasonRedirect:        {"redirect", 308, "", "the route redirects; the status is its `redirect-status`"},
	ReasonChallenge:       {"acme-challenge", 200, "", "a CA's validation of the host"},
	ReasonMaxForwards:     {"max-forwards", 200, "the request is not to be passed on: Max-Forwards is 0", "the request says `Max-Forwards: 0`; 501 to TRACE"},
	ReasonConnectFailed:   {"connect-failed", 502, "no connection to the instance could be made", "no connection to the instance could be made"},
	ReasonHandshakeFailed: {"tls-failed", 502, "", "the TLS handshake with the instance failed, and why"},
	ReasonUpstreamClosed:  {"upstream-closed", 502, "the instance closed the connection before it answered", "the instance closed before it answered"},
	ReasonUpstreamLost:    {"upstream-lost", 502, "", "the instance no longer acknowledges what it is sent"},
	ReasonBadAnswer:       {"bad-answer", 502, "", "the instance's answer is malformed, in the field line that the answer names"},
	ReasonTooManyInterim:  {"too-many-interim", 502, "", "the instance sent more 1xx answers than `--max-interim`"},
	ReasonNoInstance:      {"no-instance", 503, "no instance of this service is ready", "no instance became ready within `wait`. With Retry-After, and a line in the log with the causes, at most one for a route in ten seconds"},
	ReasonQueueFull:       {"queue-full", 503, "too many requests wait for an instance of this service", "too many requests wait already, or hold too many bytes: of one route more than its share. With Retry-After and a line in the log, too"},
	ReasonNoDescriptor:    {"no-descriptor", 503, "no more connections to instances can be made", "connections to instances use up their share of the file descriptors"},
	ReasonOverloaded:      {wire.ErrOverloaded.Code, wire.ErrOverloaded.Status, wire.ErrOverloaded.Detail, "clients take what `--memory` leaves them: what is newest or largest is refused"},
	ReasonStarting:        {"starting", 503, "serai is starting: the services are not known yet", "serai is starting, and the services are not known yet"},
	ReasonNotReady:        {"not-ready", 503, "", "the ready path fails, as in a drain"},
	ReasonUpstreamTimeout: {"upstream-timeout", 504, "the instance did not answer in time", "no answer within `timeout`"},
	ReasonLoop:            {policy.ErrAuthLoop.Code, policy.ErrAuthLoop.Status, "", "the request has passed serai `--max-hops` times: an instance leads back to it"},
	ReasonPlainHTTP:       {"plain-http", 400, "this port speaks TLS: use https://", "plain HTTP came to the HTTPS listener"},
	ReasonProxyHeader:     {"proxy-header", 400, "the connection begins with a PROXY header, but --proxy-protocol-from does not name its sender, or it is the second one", "the connection begins with a PROXY header, but `--proxy-protocol-from` does not name its sender (a load balancer), or it is the second one; at the HTTPS listener it is only counted. So is one of a sender that is named, if it is malformed or cut off, with a line in the log, at most one of a listener in ten seconds"},
	ReasonHeadTimeout:     {"head-timeout", 408, "the request head did not come in time", "the head of the request came too slowly"},
	ReasonBodyTimeout:     {"body-timeout", 408, "the request's body did not come in time", "the body of the request came too slowly"},
	ReasonBodySlow:        {"body-slow", 408, "the request's body came more slowly than --min-rate allows", "the body of the request came more slowly than `--min-rate`"},
	ReasonUpstreamCut:     {"upstream-cut", 0, "", "the instance ended the connection in the middle of an answer"},
	ReasonUpstreamIdle:    {"upstream-idle", 0, "", "the instance brought nothing more of its answer for `body-idle` (gRPC: `--tunnel-idle`), so serai cut it off. A stream of events that is silent for longer needs a longer `body-idle`, or comments now and then"},
	ReasonClientGone:      {"client-gone", 0, "", "the client left before its answer was whole"},
	ReasonDrainTimeout:    {"drain-timeout", 0, "", "serai stops, and cut the request off because it had not ended within `--drain-timeout`"},
	ReasonTunnelCut:       {"tunnel-cut", 0, "", "an upgraded connection failed"},
	ReasonPanic:           {"panic", 0, "", "serai itself failed, and cut the request off"},
	ReasonTLSHandshake:    {"tls-handshake", 0, "", "a client's TLS handshake failed; counted only"},
	ReasonRetryBudget:     {"retry-budget", 0, "", "a request was not sent again, because too many are; counted, beside the reason that it failed for"},
	ReasonNoHTTP2:         {"no-http2", 502, "", "the instance does not speak HTTP/2, as its `scheme` says it would, and how that was seen"},
	ReasonUpstreamRefused: {"upstream-refused", 503, "", "the instance refused the request before it did anything: it is overloaded, or about to stop (REFUSED_STREAM, GOAWAY)"},
	ReasonNoUpgrade:       {"no-upgrade", 501, "", "a WebSocket to an instance of HTTP/2 that does not offer extended CONNECT (RFC 8441)"},
	ReasonAuthRequired:    ofPolicy(policy.ErrAuthRequired, "the route's `auth` wants a name and a password, or a token, and there is none that is right; 400 where there are several tokens. Or it wants a login, and the request is no browser's that goes to a page"),
	ReasonAuthDenied:      ofPolicy(policy.ErrAuthDenied, "the service that the route's `auth` asks refuses the request; the status, the fields and the body are its own. Or the token lacks a claim that the `auth` demands, a login has failed, or the user is in no group that may come in"),
	ReasonAuthBusy:        ofPolicy(policy.ErrAuthBusy, "the client has too many passwords checked, too many requests that the service or the provider of `auth` is asked about, or too many that wait for keys of tokens; 503 where all clients together have"),
	ReasonAuthUnavailable: ofPolicy(policy.ErrAuthUnavailable, "the service or the provider that the route's `auth` asks does not answer, or not in time, or not with an answer of HTTP that is whole, or the keys of its tokens or the Nomad variable with its users or secret have not been read: nobody is let in"),
	ReasonAuthLogin:       ofPolicy(policy.ErrAuthLogin, "the route's `auth` sends the browser to its provider, or back from there; or answers a logout"),
	ReasonIPDenied:        ofPolicy(policy.ErrIPDenied, "the route's `allow` or `deny` refuses the client's address"),
	ReasonRateLimited:     ofPolicy(policy.ErrRateLimited, "the client is beyond the route's `rate`. With Retry-After"),
	ReasonCORSDenied:      ofPolicy(policy.ErrCORSDenied, "a CORS preflight for an origin, a method or a header that the route's `cors` does not allow"),
	ReasonCORSPreflight:   ofPolicy(policy.CORSPreflight, "a CORS preflight that the route's `cors` allows: no instance is asked"),
	ReasonGuardRefused:    ofPolicy(policy.ErrGuardRefused, "the route's tags ask for a guard, such as `allow`, and are refused: /rejections says why. It stays closed, so that no other route serves its path"),
	ReasonDisguisedPath:   {"disguised-path", 400, "the path can be read as another one, which a guarded route takes", "an instance may read the path as one that another route guards: `/%61dmin`, `//admin`, `/admin/../x` where `/admin` has `allow`, `deny`, `rate` or `auth`. Or it has dot segments, and the route's `auth` asks a service, which may read them otherwise than the instance"},
	ReasonDisguisedMethod: {"disguised-method", 400, "the method can be read as another one, which a guarded route takes", "an instance may read the method as one that another route guards: `post` where a route with the condition `method=POST` has `allow`, `deny`, `rate` or `auth`"},
	ReasonBadRewrite:      {"bad-rewrite", 400, "", "the route's `rewrite` or `prepend` makes no valid path of this one: it has dot segments, is too long, or does not begin with a slash"},
	ReasonNoIdentity:      {"connect-no-identity", 503, "serai has no valid certificate of Consul's mesh: its /ready says why", "the instance is in Consul's mesh, where serai has no valid certificate, or does not know whom to trust: nothing is sent. /ready and the log say why, and what to do: [docs/consul.md](docs/consul.md#connect)"},
	ReasonConnectDenied:   {"connect-denied", 503, "the instance's sidecar does not let serai in", "the instance's sidecar in Consul's mesh does not let serai in: mostly an intention denies it"},
	ReasonStopping:        {"stopping", 503, "serai stops, and no instance of this service became ready in time", "the request waited for an instance when serai stops and `--drain-timeout` is nearly over. With Retry-After and a line in the log, too"},
}

// ofPolicy is the entry for a policy's answer.
func ofPolicy(e *wire.Error, meaning string) ReasonEntry {
	return ReasonEntry{e.Code, e.Status, e.Detail, meaning}
}

// AllReasons returns the table of reasons, indexed by Reason.
func AllReasons() []ReasonEntry { return append([]ReasonEntry{}, reasons[:]...) }

// Code returns the reason's short code.
func (r Reason) Code() string { return reasons[r].Code }

// Refusal is the reason as an error, for bytes that are not a valid request.
func (r Reason) Refusal() *wire.Error {
	e := &reasons[r]
	return &wire.Error{Status: e.Status, Code: e.Code, Detail: e.Detail}
}

// failure is the failure of an attempt for this reason. The client is told detail, or
// the reason's own words if it is empty.
func (r Reason) failure(detail string) *failure {
	e := &reasons[r]
	return &failure{status: e.Status, reason: e.Code, detail: cmp.Or(detail, e.Detail)}
}
