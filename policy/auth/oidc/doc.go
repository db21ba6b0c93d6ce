// Package oidc answers: who has logged in at the operator's OpenID provider?
//
// A Login is the policy. A browser without a session is sent to the provider (OpenID
// Connect Core 1.0, authorization code flow with PKCE), and comes back to the callback
// path of the same host. What the provider says of the user is sealed into a cookie, the
// session, which every node opens with the same key: there is no store of sessions, and
// no request that belongs to one node. What began at the browser and has not come back
// yet is a cookie as well, one for each attempt.
//
// A node keeps only what may be lost: sessions that were logged out of here, attempts that
// came back, renewals of the last minute. All of it is in Shared, and bounded.
//
// No answer, error or explanation contains a token, a cookie or a secret.
package oidc
