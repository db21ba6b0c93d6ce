// Package socket answers: how do bytes get on and off the wire?
//
// A Conn is a connection whose buffer is released while it is idle, whose deadlines
// cost nothing unless they move, and which is closed in such a way that its peer gets
// everything that was written. A Pipe moves bytes from one Conn to another within the
// kernel. Neither knows what the bytes mean.
package socket
