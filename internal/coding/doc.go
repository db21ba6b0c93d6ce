// Package coding answers: how does a body become smaller on its way to a client, and who
// may use the memory for that?
//
// An Encoder codes one body as it comes (RFC 9110 section 8.4.1). It costs much memory for
// as long as the body lasts, which a client that reads slowly decides. So Encoders bounds
// what all of them take together, and what one client may have of that; gzip also exists
// in a form that takes little, for when there is no more, and for streams that last.
// Nothing here decodes.
package coding
