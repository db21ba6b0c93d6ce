package proxy

import (
	"bytes"
	"strconv"
)

// Format is how the access log writes a request.
type Format string

// FormatJSON is an object with all that is known, FormatCombined the combined log format of
// the Apache HTTP server, which many programs read.
const (
	FormatJSON     Format = "json"
	FormatCombined Format = "combined"
)

// appendCombined appends x as one line of the combined format: the client, nothing for
// identd and for the user, the time, the request line, the status, the bytes of the answer's
// body, Referer and User-Agent. Whatever the client sent is escaped as Apache does it, and
// shortened. A value that is not known is a dash. Of a Referer's query the line has as much
// as of the target's.
func (x *Exchange) appendCombined(b []byte, q Query) []byte {
	if x.Client.IsValid() {
		b = x.Client.AppendTo(b)
	} else {
		b = append(b, '-')
	}
	b = append(b, " - - ["...)
	b = x.Start.UTC().AppendFormat(b, "02/Jan/2006:15:04:05 -0700")
	b = append(b, `] "`...)
	if len(x.Head.Method) > 0 {
		b = appendEscapedBytes(b, x.Head.Method)
		if len(x.Head.Target) > 0 {
			b = append(b, ' ')
			b = appendShown(b, x.Head.Target, q)
		}
		if protocol := x.protocol(); protocol != "" {
			b = append(b, ' ')
			b = append(b, protocol...)
		}
	} else {
		b = append(b, '-') // nothing of the head could be read
	}
	b = append(b, `" `...)
	b = strconv.AppendInt(b, int64(x.Status), 10)
	b = append(b, ' ')
	if x.BytesOut > 0 {
		b = strconv.AppendInt(b, x.BytesOut, 10)
	} else {
		b = append(b, '-')
	}
	b = append(b, ` "`...)
	if referer := x.Header("referer"); len(referer) > 0 {
		b = appendShown(b, referer, q)
	} else {
		b = append(b, '-')
	}
	b = append(b, `" "`...)
	if agent := x.Header("user-agent"); len(agent) > 0 {
		b = appendEscapedBytes(b, agent)
	} else {
		b = append(b, '-')
	}
	return append(b, "\"\n"...)
}

// appendShown appends a target or URL with as much of its query as the log may contain.
func appendShown(b, target []byte, q Query) []byte {
	path, query, found := bytes.Cut(target, []byte{'?'})
	switch {
	case !found || q != QueryOff && q != QueryRedact:
		return appendEscapedBytes(b, target)
	case q == QueryOff || len(query) == 0 || len(path) > accessValue:
		return appendEscapedBytes(b, path)
	}
	b = append(appendEscapedBytes(b, path), '?')
	return appendNames(b, query, appendEscapedBytes[[]byte])
}

// appendNames appends the names of a query, each as write appends it, with a dash for its
// value, until the line has enough of them.
func appendNames(b, query []byte, write func(b, name []byte) []byte) []byte {
	start := len(b)
	for len(query) > 0 && len(b)-start < accessValue {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte{'&'})
		if name, _, valued := bytes.Cut(pair, []byte{'='}); valued {
			b = append(write(b, name), "=-"...)
		} else {
			b = append(b, '-') // this may be a value
		}
		if len(query) > 0 {
			b = append(b, '&')
		}
	}
	return b
}

// appendEscapedBytes appends s for a place between quotes, as Apache does: what is no
// printable ASCII, quotes and backslashes are escaped. A long value is shortened.
func appendEscapedBytes[T string | []byte](b []byte, s T) []byte {
	if len(s) > accessValue {
		s = s[:accessValue]
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c >= 0x7f:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}
