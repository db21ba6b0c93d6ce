package http2

import (
	"serai/upstream"
	"serai/wire"
)

// Requests are written without a dynamic table: most of what differs between two of
// them is long and never the same again, and a table would have to be kept in step
// with the order of all requests of the connection. So a head can be encoded
// before it is known which connection takes it.

// keepNothing, in front of a block, says that the encoder has no dynamic table (RFC
// 7541 section 6.3).
const keepNothing = 0x20

// Entries of the static table (RFC 7541 appendix A).
const (
	tableAuthority = 1
	tableGET       = 2
	tablePOST      = 3
	tablePath      = 4
	tableHTTP      = 6
	tableHTTPS     = 7
	tableMethod    = tableGET
)

// tableNames are the fields of the static table that requests have.
var tableNames = map[string]byte{
	"accept-charset": 15, "accept-encoding": 16, "accept-language": 17, "accept": 19, "authorization": 23, "cache-control": 24,
	"content-encoding": 26, "content-language": 27, "content-length": 28, "content-type": 31, "cookie": 32, "date": 33,
	"expect": 35, "from": 37, "if-match": 39, "if-modified-since": 40, "if-none-match": 41, "if-range": 42,
	"if-unmodified-since": 43, "max-forwards": 47, "proxy-authorization": 49, "range": 50, "referer": 51, "user-agent": 58, "via": 60,
}

// appendNumberIn appends n behind the first bits of a byte, of which it has so many
// (RFC 7541 section 5.1).
func appendNumberIn(dst []byte, first byte, bits uint, n int) []byte {
	most := 1<<bits - 1
	if n < most {
		return append(dst, first|byte(n))
	}
	dst = append(dst, first|byte(most))
	for n -= most; n >= 0x80; n >>= 7 {
		dst = append(dst, byte(n)|0x80)
	}
	return append(dst, byte(n))
}

func appendString[T string | []byte](dst []byte, s T) []byte {
	return append(appendNumberIn(dst, 0, 7, len(s)), s...)
}

// appendIndexed appends a field whose name is in the static table.
func appendIndexed[T string | []byte](dst []byte, name byte, value T) []byte {
	return appendString(appendNumberIn(dst, 0, 4, int(name)), value)
}

// appendField appends a field with its name in lower case.
func appendField[T string | []byte](dst []byte, name, value T) []byte {
	var lower [32]byte
	if len(name) <= len(lower) {
		n := copy(lower[:], name)
		toLower(lower[:n])
		if i, known := tableNames[string(lower[:n])]; known {
			return appendIndexed(dst, i, value)
		}
	}
	dst = appendString(append(dst, 0), name)
	toLower(dst[len(dst)-len(name):])
	return appendString(dst, value)
}

func toLower(b []byte) {
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
}

func appendFields(dst []byte, fields []wire.Field) []byte {
	for i := range fields {
		if fields[i].Kind != wire.Dropped {
			dst = appendField(dst, fields[i].Name, fields[i].Value)
		}
	}
	return dst
}

// appendHead appends a request's head as a block of fields (RFC 9113 section 8.3.1).
// A tunnel is asked for with extended CONNECT (RFC 8441 section 4), for which
// what the WebSocket handshake of HTTP/1 needs to be told from others has no use.
func appendHead(dst []byte, h *wire.OutgoingRequest, scheme upstream.Scheme, tunnel bool) []byte {
	switch method := string(h.Method); {
	case tunnel:
		dst = appendIndexed(dst, tableMethod, "CONNECT")
		dst = appendField(dst, ":protocol", "websocket")
	case method == "GET":
		dst = append(dst, 0x80|tableGET)
	case method == "POST":
		dst = append(dst, 0x80|tablePOST)
	default:
		dst = appendIndexed(dst, tableMethod, h.Method)
	}
	if scheme.Secure() {
		dst = append(dst, 0x80|tableHTTPS)
	} else {
		dst = append(dst, 0x80|tableHTTP)
	}
	dst = appendIndexed(dst, tablePath, h.Target)
	if len(h.Authority) > 0 {
		dst = appendIndexed(dst, tableAuthority, h.Authority)
	}
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Kind == wire.Dropped || tunnel && (wire.EqualFold(f.Name, webSocketKey) || f.Kind == wire.ContentLength) {
			continue
		}
		dst = appendField(dst, f.Name, f.Value)
	}
	// A gRPC server wants to be told that nobody on the way drops trailers.
	if h.Trailers || scheme.GRPC() {
		dst = appendField(dst, "te", "trailers")
	}
	return dst
}
