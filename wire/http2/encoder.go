package http2

import (
	"encoding/binary"
	"strconv"

	"serai/wire"
)

// The encoder uses only the static table, like nginx, and keeps no state between messages.
// So no lock has to order the messages of a connection, and a secret of one stream cannot
// be guessed from the length of another stream's message. Strings are not Huffman-coded:
// within a data centre that costs more than the bytes are worth.

// NoTable begins the first block of a connection, and the first one after the peer has
// changed the size of the table: it sets the size to zero (RFC 7541 section 4.2).
const NoTable = 0x20

// AppendInteger appends v with a prefix of that many bits (RFC 7541 section 5.1). The
// other bits of the first byte are those of first.
func AppendInteger(dst []byte, first byte, prefix int, v uint64) []byte {
	mask := uint64(1)<<prefix - 1
	if v < mask {
		return append(dst, first|byte(v))
	}
	dst = append(dst, first|byte(mask))
	for v -= mask; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// AppendStatus appends :status.
func AppendStatus(dst []byte, status int) []byte {
	switch status {
	case 200, 204, 206, 304, 400, 404, 500:
		for i := statusIndex; ; i++ {
			if v := static[i].Value; int(v[0]-'0')*100+int(v[1]-'0')*10+int(v[2]-'0') == status {
				return append(dst, 0x80|byte(i))
			}
		}
	}
	dst = AppendInteger(dst, 0, 4, statusIndex)
	if status < 1000 {
		return append(dst, 3, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10))
	}
	text := strconv.Itoa(status)
	return append(append(dst, byte(len(text))), text...)
}

// statusIndex is the index of the first :status in the static table.
const statusIndex = 8

// AppendField appends a field with its name in lower case. A field with a secret is
// marked as never to be indexed.
func AppendField(dst []byte, f *wire.Field) []byte {
	if int(f.Kind) < len(kindNames) && kindNames[f.Kind] != "" {
		dst = append(dst, kindNames[f.Kind]...)
	} else {
		dst = appendName(dst, f.Name)
	}
	if n := len(f.Value); n < 0x7f {
		dst = append(dst, byte(n))
	} else {
		dst = AppendInteger(dst, 0, 7, uint64(n))
	}
	return append(dst, f.Value...)
}

// appendName appends the start of a field: its name, or the name's index.
func appendName(dst, name []byte) []byte {
	first := byte(0)
	if len(name) == len("cookie") && wire.EqualFold(name, "cookie") || len(name) == len("set-cookie") && wire.EqualFold(name, "set-cookie") ||
		len(name) == len("authorization") && wire.EqualFold(name, "authorization") {
		first = 0x10
	}
	if i := staticName(name); i > 0 {
		return AppendInteger(dst, first, 4, uint64(i))
	}
	dst = AppendInteger(append(dst, first), 0, 7, uint64(len(name)))
	return appendLower(dst, name)
}

// AppendFields appends all fields that are not Dropped.
func AppendFields(dst []byte, fields []wire.Field) []byte {
	for i := range fields {
		if fields[i].Kind != wire.Dropped {
			dst = AppendField(dst, &fields[i])
		}
	}
	return dst
}

// pseudoIndex has the first index of each pseudo-field of a request in the static
// table.
var pseudoIndex = [...]byte{Authority: 1, Method: 2, Path: 4, Scheme: 6}

// AppendPseudo appends a pseudo-field of a request.
func AppendPseudo(dst []byte, p Pseudo, value []byte) []byte {
	switch {
	case p == Protocol:
		dst = append(append(dst, 0, byte(len(":protocol"))), ":protocol"...)
	case p != Authority:
		// The static table has two values of each.
		for i := pseudoIndex[p]; i < pseudoIndex[p]+2; i++ {
			if string(static[i].Value) == string(value) {
				return append(dst, 0x80|i)
			}
		}
		fallthrough
	default:
		dst = append(dst, pseudoIndex[p])
	}
	dst = AppendInteger(dst, 0, 7, uint64(len(value)))
	return append(dst, value...)
}

// appendLower appends a name, which is ASCII, in lower case: eight bytes at a time.
func appendLower(dst, name []byte) []byte {
	const ones = 0x0101010101010101
	start := len(dst)
	dst = append(dst, name...)
	rest := dst[start:]
	for ; len(rest) >= 8; rest = rest[8:] {
		v := binary.LittleEndian.Uint64(rest)
		// The highest bit of a byte becomes set from 'A' on in the first sum, and only behind 'Z'
		// in the second one.
		upper := (v + (0x80-'A')*ones) &^ (v + (0x80-'Z'-1)*ones) & (0x80 * ones)
		binary.LittleEndian.PutUint64(rest, v|upper>>2)
	}
	for i, b := range rest {
		if b >= 'A' && b <= 'Z' {
			rest[i] = b | 0x20
		}
	}
	return dst
}

// kindNames has what appendName appends, for kinds that are one name, so that it need not
// be read again.
var kindNames = func() (t [wire.Date + 1]string) {
	for _, name := range []string{
		"content-length", "cookie", "date", "te", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
		"x-forwarded-prefix", "x-forwarded-proto", "x-real-ip", "x-request-id", "x-serai-hops",
	} {
		t[wire.KindOf([]byte(name))] = string(appendName(nil, []byte(name)))
	}
	return t
}()

// staticNames are the names of the static table by length, with their first index.
var staticNames = func() (t [32][]indexed) {
	for i := len(static) - 1; i > 0; i-- {
		name := string(static[i].Name)
		if i > 1 && string(static[i-1].Name) == name {
			continue
		}
		t[len(name)] = append(t[len(name)], indexed{name, i})
	}
	return t
}()

type indexed struct {
	name  string
	index int
}

func staticName(name []byte) int {
	if len(name) >= len(staticNames) {
		return 0
	}
	for i := range staticNames[len(name)] {
		n := &staticNames[len(name)][i]
		if name[0]|0x20 == n.name[0]|0x20 && wire.EqualFold(name, n.name) {
			return n.index
		}
	}
	return 0
}
