// Package http2 answers: how is an instance spoken to over HTTP/2?
//
// A Transport has the connections to one endpoint. A conn carries many requests at
// once; one goroutine reads it for as long as it is open, and whoever has frames to
// send writes those of all. A stream carries one request and its answer: it holds no
// more of a body than the window that it has given the instance. Whom to ask,
// and whether again, is decided elsewhere.
package http2
