// Package keys answers: which keys does an issuer of tokens sign with, and did one of
// them sign this token?
//
// A Set is the keys of one document (JWKS, RFC 7517), and never changes. A Source has the
// set of the moment: a Set that was read from a file is its own, a Remote fetches one and
// follows it. Verify checks the signature of a token in the compact serialization of a
// JWS (RFC 7515), and what its head says; what the token claims is for the caller to
// judge.
//
// Tokens and documents are hostile. No token chooses the key or the algorithm that it is
// checked with: its kid is looked up among the keys of the set, its alg must be allowed
// and be the key's, and what else it says of keys (jku, jwk, x5u, x5c) leads nowhere.
package keys
