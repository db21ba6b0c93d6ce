package policy

import (
	"bytes"

	"serai/internal/coding"
	"serai/wire"
)

// weight is a quality value in thousandths (RFC 9110 section 12.4.2).
type weight int16

// unsaid is the weight of what a client does not mention.
const unsaid weight = -1

// accepted is what a request's Accept-Encoding says of the codings that serai has.
type accepted struct {
	of       [3]weight // by coding
	identity weight
	any      weight // of *
}

// readAccepted reads the Accept-Encoding fields of a request, which are one list (RFC
// 9110 section 12.5.3). An element that is malformed counts as not there; of several for
// the same coding the lowest counts.
func readAccepted(fields []wire.Field) accepted {
	a := accepted{[3]weight{unsaid, unsaid, unsaid}, unsaid, unsaid}
	for i := range fields {
		f := &fields[i]
		if !wire.EqualFold(f.Name, nameAcceptEncoding) {
			continue
		}
		for list := f.Value; len(list) > 0; {
			var element []byte
			element, list, _ = bytes.Cut(list, comma)
			a.add(element)
		}
	}
	return a
}

const nameAcceptEncoding = "accept-encoding"

// add takes an element of the list.
func (a *accepted) add(element []byte) {
	name, parameter, weighted := bytes.Cut(element, semicolon)
	name = trimOWS(name)
	w := weight(1000)
	if weighted {
		var ok bool
		if w, ok = readWeight(trimOWS(parameter)); !ok {
			return
		}
	}
	to := &a.any
	switch {
	case string(name) == "*":
	case wire.EqualFold(name, "identity"):
		to = &a.identity
	case wire.EqualFold(name, "gzip"), wire.EqualFold(name, "x-gzip"): // RFC 9110 section 8.4.1.3
		to = &a.of[coding.Gzip]
	case wire.EqualFold(name, "br"):
		to = &a.of[coding.Brotli]
	case wire.EqualFold(name, "zstd"):
		to = &a.of[coding.Zstd]
	default:
		return
	}
	if *to == unsaid || w < *to {
		*to = w
	}
}

var semicolon = []byte(";")

func trimOWS(b []byte) []byte { return bytes.Trim(b, " \t") }

// readWeight reads q=VALUE: 0 or 1, with up to three digits behind a dot.
func readWeight(p []byte) (w weight, ok bool) {
	if len(p) < 3 || len(p) > 7 || p[0]|0x20 != 'q' || p[1] != '=' {
		return 0, false
	}
	digits := p[3:]
	switch {
	case p[2] != '0' && p[2] != '1':
		return 0, false
	case len(digits) > 0 && digits[0] != '.':
		return 0, false
	case len(digits) > 0:
		digits = digits[1:]
	}
	w = weight(p[2]-'0') * 1000
	for i, unit := 0, weight(100); i < len(digits); i, unit = i+1, unit/10 {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		w += weight(digits[i]-'0') * unit
	}
	return w, w <= 1000
}

// weigh returns the weight of a coding, 0 for one that the client does not take.
func (a *accepted) weigh(c coding.Coding) weight {
	w := a.of[c]
	if w == unsaid {
		w = a.any
	}
	return max(w, 0)
}

// choose appends those of the codings that the client takes, and does not like less than
// none, to dst: what it likes most first, and of equals in their order.
func (a *accepted) choose(dst, from []coding.Coding) []coding.Coding {
	begin := len(dst)
	for _, c := range from {
		w := a.weigh(c)
		if w == 0 || w < a.identity {
			continue
		}
		i := len(dst)
		dst = append(dst, c)
		for ; i > begin && a.weigh(dst[i-1]) < w; i-- {
			dst[i] = dst[i-1]
		}
		dst[i] = c
	}
	return dst
}
