// Package socket answers: how do bytes get on and off the wire?
//
// A Conn is a connection whose buffer is given back while it is idle, whose
// deadlines cost nothing unless they move, and which ends so that its peer gets
// all that was written. A Pipe moves bytes from one to another within the
// kernel. None of them knows what the bytes mean.
package socket
