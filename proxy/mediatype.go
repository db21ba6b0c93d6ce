package proxy

import (
	"bytes"

	"serai/wire"
)

const (
	grpcMedia    = "application/grpc"
	grpcWeb      = "application/grpc-web"
	grpcWebText  = "application/grpc-web-text"
	contentField = "content-type"
)

// contentType returns the field that says of what media type a message is; nil where there
// is none, or several, of which others may believe another one.
func contentType(fields []wire.Field) (found *wire.Field) {
	for i := range fields {
		f := &fields[i]
		if len(f.Name) != len(contentField) || f.Kind == wire.Dropped || !wire.EqualFold(f.Name, contentField) {
			continue
		}
		if found != nil {
			return nil
		}
		found = f
	}
	return found
}

// cutType cuts a media type, in any case (RFC 9110 section 8.3.1), from what may follow it:
// a format, such as +proto, and parameters.
func cutType(value []byte, media string) (rest []byte, ok bool) {
	if len(value) < len(media) || !wire.EqualFold(value[:len(media)], media) {
		return nil, false
	}
	rest = value[len(media):]
	parameters := bytes.TrimLeft(rest, " \t")
	return rest, len(parameters) == 0 || parameters[0] == ';' || rest[0] == '+'
}

// isOf reports whether a message is of a media type.
func isOf(fields []wire.Field, media string) bool {
	f := contentType(fields)
	if f == nil {
		return false
	}
	_, ok := cutType(f.Value, media)
	return ok
}
