// Package http1 answers: how does serai speak HTTP/1 to an instance?
//
// A Transport keeps the idle connections of one endpoint and learns when its instance
// closes them. A conn carries one request at a time: it writes the head with the part
// of the body that has arrived, streams the rest while it waits for the answer, and
// decodes the answer. Choosing the instance and retrying are done elsewhere.
package http1
