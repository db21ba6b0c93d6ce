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

// contentType returns the field with the media type of a message. It is nil when there
// is none, or several, of which another reader may choose another one.
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

// cutType cuts a media type, in any case (RFC 9110 section 8.3.1), off a value. The
// rest may be a format, such as +proto, and parameters.
func cutType(value []byte, media string) (rest []byte, ok bool) {
	if len(value) < len(media) || !wire.EqualFold(value[:len(media)], media) {
		return nil, false
	}
	rest = value[len(media):]
	parameters := bytes.TrimLeft(rest, " \t")
	return rest, len(parameters) == 0 || parameters[0] == ';' || rest[0] == '+'
}

// isOf reports whether a message has a media type.
func isOf(fields []wire.Field, media string) bool {
	f := contentType(fields)
	if f == nil {
		return false
	}
	_, ok := cutType(f.Value, media)
	return ok
}
