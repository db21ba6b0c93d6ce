// Package http1 answers: how is an instance spoken to over HTTP/1?
//
// A Transport keeps the unused connections of one endpoint and learns when its
// instance closes them. A conn carries one request at a time: it writes the head
// with what there is of the body, streams the rest while the answer is awaited,
// and decodes the answer. Whom to ask, and whether again, is decided elsewhere.
package http1
