// Package http2 answers: what is on the wire in HTTP/2?
//
// It has frames, settings, error codes (RFC 9113), field compression (RFC 7541), and the
// rules for the fields of a head. It has no connections and no streams: these are in
// proxy/http2 and upstream/http2.
package http2
