// Package auth answers: who is the client, and may it come in?
//
// Each kind of authentication that the operator's config file can define is a policy: Basic
// compares passwords with a file, JWT checks tokens that an issuer has signed, Forward asks
// a service. A policy is one object for all routes that name it. Its state outlives
// tables: the passwords and tokens that were verified before, the keys of the issuer, the
// connections to the service.
//
// Whatever fails, the answer is a refusal: no request gets past a policy that could not
// decide. No answer, error or line of the log contains a password, a hash or a token.
package auth
