// Package http2 answers: what is on the wire in HTTP/2?
//
// It has frames, settings, error codes (RFC 9113), field compression (RFC 7541), and
// the rules for the fields of a head. It keeps no connection and knows no stream:
// whoever speaks HTTP/2, to clients or to instances, does.
package http2
