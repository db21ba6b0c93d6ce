package proxy

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// appendLog appends x as one line of JSON, with the field names of log/slog. Durations
// are in seconds. A value that is unknown or empty has no field. Skipped is the number
// of earlier requests that were refused in the same way and have no line.
func (x *Exchange) appendLog(b []byte, q Query, skipped uint64) []byte {
	b = append(b, `{"time":"`...)
	b = x.Start.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","msg":"request"`...)
	b = appendField(b, "request_id", x.id())
	if id, ok := x.TraceID(); ok {
		b = append(b, `,"trace_id":"`...)
		b = append(hex.AppendEncode(b, id[:]), '"')
	}
	if x.Client.IsValid() {
		b = append(b, `,"client":"`...)
		b = append(x.Client.AppendTo(b), '"')
	}
	if x.Peer.IsValid() {
		b = append(b, `,"peer":"`...)
		b = append(x.Peer.AppendTo(b), '"')
	}
	b = appendField(b, "host", x.Head.Host)
	b = appendField(b, "method", x.Head.Method)
	b = appendPath(b, x.Head.Target, q)
	b = appendField(b, "protocol", x.protocol())
	b = appendField(b, "user_agent", x.Header("user-agent"))
	b = append(b, `,"tls":`...)
	b = strconv.AppendBool(b, x.Secure)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.Status), 10)
	if status, ok := x.GRPCStatus(); ok {
		b = append(b, `,"grpc_status":`...)
		b = strconv.AppendInt(b, int64(status), 10)
	}
	b = appendField(b, "reason", x.Reason)
	if skipped > 0 {
		b = append(b, `,"not_logged":`...)
		b = strconv.AppendUint(b, skipped, 10)
	}
	b = append(b, `,"bytes_in":`...)
	b = strconv.AppendInt(b, x.BytesIn, 10)
	b = append(b, `,"bytes_out":`...)
	b = strconv.AppendInt(b, x.BytesOut, 10)
	b = appendSeconds(b, "duration", x.Now.Sub(x.Start))
	if r := x.Route; r != nil {
		b = appendField(b, "namespace", r.Namespace)
		b = appendField(b, "service", r.Service)
		b = appendField(b, "route", r.Name)
		b = append(b, `,"retries":`...)
		b = strconv.AppendInt(b, int64(x.Retries), 10)
		b = appendSeconds(b, "queued", x.Queued)
	}
	if m := x.Member; m != nil {
		b = appendField(b, "alloc", m.Alloc)
		b = appendField(b, "instance", m.Endpoint.Target().Address)
		b = appendSeconds(b, "connect", x.Connected)
		b = appendSeconds(b, "first_byte", x.FirstByte)
	}
	return append(b, "}\n"...)
}

// protocol returns the client's protocol, empty when it is not known.
func (x *Exchange) protocol() string {
	switch h := &x.Head; {
	case h.Major == 2:
		return "HTTP/2.0"
	case len(h.Method) == 0 || h.Unversioned:
		return ""
	case h.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

func appendSeconds(b []byte, name string, d time.Duration) []byte {
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendFloat(b, d.Seconds(), 'f', 6, 64)
}

// appendField appends a string field, unless the value is empty.
func appendField[T string | []byte](b []byte, name string, value T) []byte {
	if len(value) == 0 {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, name...)
	b = append(b, `":`...)
	return appendJSON(b, value)
}

// appendPath appends a request's target, with as much of its query as the log may
// contain: a query may carry secrets, such as a token in a link.
func appendPath(b, target []byte, q Query) []byte {
	path, query, found := bytes.Cut(target, []byte{'?'})
	if !found || q != QueryOff && q != QueryRedact {
		return appendField(b, "path", target)
	}
	if b = appendField(b, "path", path); len(path) == 0 {
		return b
	}
	if q == QueryOff || len(path) > accessValue || len(query) == 0 {
		return b
	}
	b = append(b[:len(b)-1], '?') // in place of the quote
	b = appendNames(b, query, func(b, name []byte) []byte {
		// As JSON, without its quotes.
		at := len(b)
		b = appendJSON(b, name)
		return append(b[:at], b[at+1:len(b)-1]...)
	})
	return append(b, '"')
}

// appendJSON appends s as a JSON string, and shortens it when it is too long. Bytes
// that are not UTF-8 are replaced.
func appendJSON[T string | []byte](b []byte, s T) []byte {
	if len(s) > accessValue {
		s = s[:accessValue]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if unicode.IsPrint(r) {
				b = utf8.AppendRune(b, r)
			} else {
				b = appendEscaped(b, r)
			}
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// appendEscaped appends r as an escape sequence, so that no terminal takes it for a
// command, and no reader of lines for the end of a line: U+009B begins a control
// sequence, U+0085 and U+2028 end lines, U+202E reverses the direction of text.
func appendEscaped(b []byte, r rune) []byte {
	for _, unit := range utf16.AppendRune(nil, r) {
		b = append(b, '\\', 'u')
		for shift := 12; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[unit>>shift&15])
		}
	}
	return b
}
