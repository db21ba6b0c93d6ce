package policy

import (
	"bytes"

	"serai/wire"
)

// MinCompressed is the length from which on a body is worth compressing, in bytes. One of
// an unknown length is.
const MinCompressed = 1 << 10

// compressible reports whether the answer is one that some client might get compressed.
func compressible(h *wire.ResponseHead, method []byte) bool {
	switch {
	case h.Status < 200, h.Status == 204, h.Status == 205, h.Status == 206, h.Status == 304:
		return false
	case string(method) == "HEAD":
		if h.Declared && h.Size < MinCompressed {
			return false
		}
	case h.Framing == wire.NoBody, h.Framing == wire.Length && h.Size < MinCompressed:
		return false
	}
	listed := false
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Kind == wire.Dropped:
		case wire.EqualFold(f.Name, "content-type"):
			if listed || !compressedType(f.Value) { // of two nobody knows which counts
				return false
			}
			listed = true
		case forbidsCompression(f):
			return false
		}
	}
	return listed
}

// forbidsCompression reports whether a field of an answer says that its body is to reach
// the client as it is, or would be wrong if it did not.
func forbidsCompression(f *wire.Field) bool {
	switch {
	case wire.EqualFold(f.Name, "content-encoding"):
		return !onlyIdentity(f.Value)
	case wire.EqualFold(f.Name, "content-range"):
		return true
	case wire.EqualFold(f.Name, "cache-control"):
		return wire.HasToken(f.Value, "no-transform") // RFC 9110 section 7.7
	case f.Kind == wire.Trailer:
		return namesDigest(f.Value)
	}
	return vouchesForBody(f.Name)
}

// onlyIdentity reports whether a Content-Encoding says that there is none.
func onlyIdentity(list []byte) bool {
	for len(list) > 0 {
		var name []byte
		if name, list, _ = bytes.Cut(list, comma); len(trimOWS(name)) > 0 && !wire.EqualFold(trimOWS(name), "identity") {
			return false
		}
	}
	return true
}

// vouchesForBody reports whether a field has a digest of the bytes as they are sent (RFC
// 9530, RFC 3230, RFC 1864), or a signature that may be of one (RFC 9421).
func vouchesForBody(name []byte) bool {
	for _, n := range [...]string{"content-md5", "digest", "content-digest", "repr-digest", "signature"} {
		if wire.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// namesDigest reports whether a list of trailers names such a field.
func namesDigest(list []byte) bool {
	for len(list) > 0 {
		var name []byte
		if name, list, _ = bytes.Cut(list, comma); vouchesForBody(trimOWS(name)) {
			return true
		}
	}
	return false
}

// DropDigests marks the trailers that are wrong for a body that was transformed, although
// its head did not announce them.
func DropDigests(trailers []wire.Field) {
	for i := range trailers {
		if vouchesForBody(trailers[i].Name) {
			trailers[i].Kind = wire.Dropped
		}
	}
}

// compressedType reports whether bodies of a media type become smaller: text, and what
// is like text. Not gRPC and streams of Connect, which compress their messages.
func compressedType(value []byte) bool {
	media, _, _ := bytes.Cut(value, semicolon)
	media = trimOWS(media)
	kind, name, ok := bytes.Cut(media, slash)
	switch {
	case !ok:
		return false
	case wire.EqualFold(kind, "text"):
		return len(name) > 0
	case hasPrefixFold(media, "application/grpc"), hasPrefixFold(media, "application/connect+"):
		return false
	}
	for _, suffix := range [...]string{"+json", "+xml", "+yaml"} { // RFC 6838 section 4.2.8
		if len(name) > len(suffix) && wire.EqualFold(name[len(name)-len(suffix):], suffix) {
			return true
		}
	}
	for _, listed := range compressedTypes {
		if wire.EqualFold(media, listed) {
			return true
		}
	}
	return false
}

// compressedTypes are those besides text/* and the suffixes.
var compressedTypes = [...]string{
	"application/json", "application/javascript", "application/xml", "application/wasm", "application/x-javascript",
	"application/ecmascript", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq", "application/yaml",
	"application/x-yaml", "application/toml", "application/graphql", "application/sql", "application/rtf", "application/xml-dtd",
	"application/x-sh", "application/vnd.ms-fontobject", "application/x-font-ttf",
	"font/ttf", "font/otf", "font/collection", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
}

func hasPrefixFold(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && wire.EqualFold(b[:len(prefix)], prefix)
}
