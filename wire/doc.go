// Package wire answers: what is on the wire?
//
// It is a strict HTTP/1.1 codec over byte slices: heads are parsed in one pass
// without allocating and keep pointing into the buffer they were read into;
// bodies are decoded by their framing and end only where the framing says so.
// It decides nothing: what is refused is refused because RFC 9110 or RFC 9112
// says so, or because two readers could disagree about it.
package wire
