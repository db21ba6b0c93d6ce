package http2

import (
	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// Requests are written without a dynamic table: most of what differs between two of
// them is long and never the same again, and a table would have to be kept in step
// with the order of all requests of the connection. So a head can be encoded
// before it is known which connection takes it.

var (
	methodConnect  = []byte("CONNECT")
	webSocket      = []byte("websocket")
	teTrailers     = wire.Field{Name: []byte("te"), Value: []byte("trailers"), Kind: wire.TE}
	plain, overTLS = []byte("http"), []byte("https")
)

// appendHead appends a request's head as a block of fields (RFC 9113 section 8.3.1).
// A tunnel is asked for with extended CONNECT (RFC 8441 section 4), for which
// what the WebSocket handshake of HTTP/1 needs to be told from others has no use.
func appendHead(dst []byte, h *wire.OutgoingRequest, scheme upstream.Scheme, tunnel bool) []byte {
	if tunnel {
		dst = http2.AppendPseudo(dst, http2.Method, methodConnect)
		dst = http2.AppendPseudo(dst, http2.Protocol, webSocket)
	} else {
		dst = http2.AppendPseudo(dst, http2.Method, h.Method)
	}
	if scheme.Secure() {
		dst = http2.AppendPseudo(dst, http2.Scheme, overTLS)
	} else {
		dst = http2.AppendPseudo(dst, http2.Scheme, plain)
	}
	dst = http2.AppendPseudo(dst, http2.Path, h.Target)
	if len(h.Authority) > 0 {
		dst = http2.AppendPseudo(dst, http2.Authority, h.Authority)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Kind == wire.Dropped || tunnel && (wire.EqualFold(f.Name, webSocketKey) || f.Kind == wire.ContentLength) {
			continue
		}
		dst = http2.AppendField(dst, f)
	}
	// A gRPC server wants to be told that nobody on the way drops trailers.
	if h.Trailers || scheme.GRPC() {
		dst = http2.AppendField(dst, &teTrailers)
	}
	return dst
}
