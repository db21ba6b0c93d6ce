// Package http2 answers: how does serai speak HTTP/2 to an instance?
//
// A Transport has the connections to one endpoint. A conn carries many requests at once.
// One goroutine reads it as long as it is open; any goroutine that has frames to send
// writes those of all. A stream carries one request and its answer, and buffers no more of
// a body than the window that it has given the instance. Choosing the instance and retrying
// are done elsewhere.
package http2
