// Package wire answers: what is on the wire?
//
// It is a strict HTTP/1.1 codec over byte slices. Heads are parsed in one pass without
// allocation, and point into the buffer they were read into. Bodies are decoded by their
// framing, and end only where the framing says so. The package makes no decisions of its
// own: it refuses what RFC 9110 or RFC 9112 refuses, and what two readers could understand
// differently.
package wire
