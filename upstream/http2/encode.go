package http2

import (
	"serai/upstream"
	"serai/wire"
	"serai/wire/http2"
)

// Requests are encoded without a dynamic table. Most of what differs between two requests
// is long and never repeated, and a table would have to follow the order of all requests
// of a connection. Without it a head can be encoded before its connection is chosen.

var (
	methodConnect  = []byte("CONNECT")
	webSocket      = []byte("websocket")
	teTrailers     = wire.Field{Name: []byte("te"), Value: []byte("trailers"), Kind: wire.TE}
	plain, overTLS = []byte("http"), []byte("https")
)

// appendHead appends a request's head as a header block (RFC 9113 section 8.3.1). A
// tunnel is requested with extended CONNECT (RFC 8441 section 4), which needs no
// Sec-WebSocket-Key.
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
	// gRPC servers require it, to know that no proxy on the way drops trailers.
	if h.Trailers || scheme.GRPC() {
		dst = http2.AppendField(dst, &teTrailers)
	}
	return dst
}
