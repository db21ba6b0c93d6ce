package policy

import (
	"strings"

	"serai/internal/coding"
	"serai/wire"
)

// compress codes the bodies of answers for clients that can decode them (RFC 9110 section
// 12.5.3). It changes the head and says how the body is transformed; nothing is ever
// decoded.
type compress struct {
	codings  []coding.Coding
	encoders *coding.Encoders
}

var _ AnswerPolicy = (*compress)(nil)

func compileCompress(o *OfRoute, s *State) Policy {
	if len(o.Compress) == 0 {
		return nil
	}
	return &compress{o.Compress, s.encoders()}
}

// What is sent. Nobody changes these bytes.
var (
	varyEncoding    = field("Vary", "Accept-Encoding")
	contentEncoding = [...]wire.Field{
		coding.Zstd: encodingField(coding.Zstd), coding.Brotli: encodingField(coding.Brotli), coding.Gzip: encodingField(coding.Gzip),
	}
)

func encodingField(c coding.Coding) wire.Field {
	f := field("Content-Encoding", c.String())
	f.Kind = wire.KindOf(f.Name)
	return f
}

// Answer implements AnswerPolicy.
func (p *compress) Answer(a *Answer) {
	h, asked := a.Head, a.Request.Received()
	switch {
	case a.Own || !a.Relayed:
		return
	case h.Status == 304:
		p.notModified(a, asked)
		return
	case !compressible(h, asked.Method):
		return
	}
	a.varyBy(nameAcceptEncoding, varyEncoding)
	if wantsAsIs(asked) {
		return
	}
	accepts := readAccepted(asked.Fields)
	lasting := isEventStream(h.Fields)
	var order, room [3]coding.Coding
	from := append(order[:0], p.codings...)
	if lasting {
		from = gzipFirst(from)
	}
	choices := accepts.choose(room[:0], from)
	switch {
	case len(choices) == 0:
	case string(asked.Method) == "HEAD":
		announce(a, choices[0])
		h.Declared, h.Size = false, 0
	default:
		if e, c := p.encoders.Take(choices, a.Memory, lasting); e != nil {
			a.Transform = e
			announce(a, c)
			h.Framing, h.Size = wire.Chunked, 0
		}
	}
}

// announce makes the head that of a body in a coding.
func announce(a *Answer, c coding.Coding) {
	for i := range a.Head.Fields {
		switch f := &a.Head.Fields[i]; {
		case f.Kind == wire.Dropped:
		case f.Kind == wire.ContentLength, wire.EqualFold(f.Name, "content-encoding"), wire.EqualFold(f.Name, "accept-ranges"):
			f.Kind = wire.Dropped // identity, and ranges of what was not coded
		case wire.EqualFold(f.Name, "etag"):
			weaken(a, f)
		}
	}
	a.Add(contentEncoding[c])
}

// weaken makes an ETag a weak one: what is sent is equivalent to what the instance means
// by it, but not the same bytes (RFC 9110 section 8.8.1).
func weaken(a *Answer, f *wire.Field) {
	switch {
	case len(f.Value) >= 2 && string(f.Value[:2]) == "W/":
	case len(f.Value) > 0 && f.Value[0] == '"':
		f.Value = a.Values.Keep(append(append(a.Values.Start(), "W/"...), f.Value...))
	default:
		f.Kind = wire.Dropped // no ETag
	}
}

// notModified makes a 304 one about what the client has: an ETag that it knows as a weak
// one alone, since serai has made it that, stays weak, or caches would not find what it is
// about (RFC 9111 section 4.3.4). Which type the body has that is not sent is often not told:
// then it is taken for one that is compressed. A length would be that of a body which the
// client might get compressed (RFC 9110 section 8.6), and ranges would be of that body.
func (p *compress) notModified(a *Answer, asked *wire.RequestHead) {
	var etag, length, ranges *wire.Field
	for i := range a.Head.Fields {
		switch f := &a.Head.Fields[i]; {
		case f.Kind == wire.Dropped:
		case f.Kind == wire.ContentLength:
			length = f
		case wire.EqualFold(f.Name, "accept-ranges"):
			ranges = f
		case wire.EqualFold(f.Name, "etag"):
			etag = f
		case wire.EqualFold(f.Name, "content-type") && !compressedType(f.Value), forbidsCompression(f):
			return
		}
	}
	if length != nil {
		length.Kind = wire.Dropped
	}
	if etag != nil && knownAsWeak(asked.Fields, etag.Value) {
		if weaken(a, etag); ranges != nil {
			ranges.Kind = wire.Dropped
		}
	}
	a.varyBy(nameAcceptEncoding, varyEncoding)
}

// knownAsWeak reports whether If-None-Match has a strong ETag in its weak form, and not as
// it is.
func knownAsWeak(fields []wire.Field, etag []byte) (weak bool) {
	if len(etag) == 0 || etag[0] != '"' {
		return false
	}
	for i := range fields {
		f := &fields[i]
		if !wire.EqualFold(f.Name, "if-none-match") {
			continue
		}
		for list := f.Value; len(list) > 0; {
			var tag []byte
			tag, list = nextETag(list)
			switch {
			case string(tag) == string(etag):
				return false
			case len(tag) == len(etag)+2 && string(tag[:2]) == "W/" && string(tag[2:]) == string(etag):
				weak = true
			}
		}
	}
	return weak
}

// nextETag cuts the first element of a list of ETags, which may have commas in them.
func nextETag(list []byte) (tag, rest []byte) {
	quoted := false
	for i, b := range list {
		switch {
		case b == '"':
			quoted = !quoted
		case b == ',' && !quoted:
			return trimOWS(list[:i]), list[i+1:]
		}
	}
	return trimOWS(list), nil
}

// wantsAsIs reports whether a request is for the body as it is, whatever codings its
// client takes:
//
//   - HTTP/1.0 has no way to tell that a body without a length is cut;
//   - Cache-Control: no-transform asks for it (RFC 9111 section 5.2.1.6);
//   - Range and If-Range count bytes of it;
//   - an upgrade that is refused is not the business of this policy;
//   - a request that another site made with the visitor's credentials is what BREACH
//     needs, which finds out secrets by the length of compressed answers.
func wantsAsIs(asked *wire.RequestHead) bool {
	if asked.Major == 0 && asked.Minor == 0 || len(asked.Upgrade) > 0 && !wire.HasToken(asked.Upgrade, "h2c") {
		return true
	}
	credentials, crossSite := false, false
	for i := range asked.Fields {
		switch f := &asked.Fields[i]; {
		case wire.EqualFold(f.Name, "range"), wire.EqualFold(f.Name, "if-range"):
			return true
		case wire.EqualFold(f.Name, "cache-control"):
			if wire.HasToken(f.Value, "no-transform") {
				return true
			}
		case wire.EqualFold(f.Name, "cookie"), wire.EqualFold(f.Name, "authorization"):
			credentials = true
		case wire.EqualFold(f.Name, "sec-fetch-site"):
			crossSite = crossSite || wire.EqualFold(f.Value, "cross-site")
		}
	}
	return credentials && crossSite
}

// isEventStream reports whether an answer is one that may last for hours.
func isEventStream(fields []wire.Field) bool {
	for i := range fields {
		if f := &fields[i]; f.Kind != wire.Dropped && wire.EqualFold(f.Name, "content-type") {
			return hasPrefixFold(f.Value, "text/event-stream")
		}
	}
	return false
}

// gzipFirst puts gzip first, which can do with little memory for as long as a stream lasts.
func gzipFirst(from []coding.Coding) []coding.Coding {
	for i, c := range from {
		if c == coding.Gzip {
			copy(from[1:i+1], from[:i])
			from[0] = c
		}
	}
	return from
}

// Explain implements Policy.
func (p *compress) Explain() string {
	all := make([]string, len(p.codings))
	for i, c := range p.codings {
		all[i] = c.String()
	}
	return "compress: clients that take it get text of 1 KiB and more compressed, by " + strings.Join(all, ", ")
}
