package policy

import "serai/wire"

// The answers of auths to requests that they do not let pass. That of ErrAuthDenied has the
// status of the service that was asked, that of ErrAuthBusy is 503 where all clients
// together are too many.
var (
	ErrAuthRequired    = &wire.Error{Status: 401, Code: "auth-required", Detail: "this needs a user name and a password"}
	ErrAuthDenied      = &wire.Error{Status: 403, Code: "auth-denied", Detail: "the auth service refused this request"}
	ErrAuthBusy        = &wire.Error{Status: 429, Code: "auth-busy"}
	ErrAuthUnavailable = &wire.Error{Status: 503, Code: "auth-unavailable"}
	ErrAuthLogin       = &wire.Error{Status: 302, Code: "auth-login"} // or 200 for a logout
	ErrAuthPath        = &wire.Error{Status: 400, Code: "disguised-path", Detail: "the path has dot segments, which the auth service may read differently from the instance"}
	ErrAuthLoop        = &wire.Error{Status: 508, Code: "loop", Detail: "the auth service leads back to serai"}
)

// compileAuth is the check of the auth that a layer names.
func compileAuth(l *Layer) Policy {
	if l.Auth == nil {
		return nil
	}
	return l.Auth.Check
}
