package wire

import (
	"bytes"
	"math/bits"
)

// syntax says how strictly a message must follow the grammar.
type syntax uint8

const (
	strict  syntax = iota // requests: two readers must understand them in the same way
	lenient               // answers: RFC 9112 lets a proxy repair some
)

// parseFields parses lines up to and including the empty line that ends them, and
// appends them to fields. It returns the number of bytes parsed. An error about one
// line is a *FieldError.
func parseFields(buf []byte, fields []Field, maxFields int, s syntax) ([]Field, int, error) {
	rest := buf
	for n := 1; ; n++ {
		if len(rest) >= 2 && rest[0] == '\r' && rest[1] == '\n' {
			return fields, len(buf) - len(rest) + 2, nil
		}
		if have := len(fields); have < min(maxFields, cap(fields)) {
			if used := fields[:have+1][have].plain(rest); used > 0 {
				fields = fields[:have+1]
				rest = rest[used:]
				continue
			}
		}
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return fields, 0, ErrIncomplete
		}
		if end == 0 || rest[end-1] != '\r' {
			return fields, 0, fieldError(ErrLineEnd, n, nil)
		}
		if len(fields) == maxFields {
			return fields, 0, ErrFieldCount
		}
		f, err := parseField(rest[:end-1], n, s)
		if err != nil {
			return fields, 0, err
		}
		fields = append(fields, f)
		rest = rest[end+1:]
	}
}

// parseField parses line n, without its end.
func parseField(line []byte, n int, s syntax) (f Field, err error) {
	colon := max(bytes.IndexByte(line, ':'), 0)
	name := line[:colon]
	kind, known := find(name)
	if !known {
		var wrong *Error
		if name, kind, colon, wrong = parseName(line, s); wrong != nil {
			return f, fieldError(wrong, n, nil)
		}
	}
	value := trim(line[colon+1:])
	if !cleanValue(value) {
		return f, fieldError(ErrFieldValue, n, name)
	}
	return Field{name, value, kind}, nil
}

// plain parses the line at the start of buf, if its name is in the table and its value has
// no control character, HTAB among them: such are nearly all lines. It returns the length
// of the line with its CRLF, or 0.
func (f *Field) plain(buf []byte) int {
	colon := 0
	for i := 0; i <= len(buf)-8; i += 8 {
		if found := colons(word(buf[i:])); found != 0 {
			colon = i + bits.TrailingZeros64(found)/8
			break
		}
	}
	// A name of the table needs no other check: it is a token, and stands before a colon.
	kind, known := find(buf[:colon])
	if !known {
		return 0
	}
	value := buf[colon+1:]
	end := firstControl(value)
	if end+1 >= len(value) || value[end] != '\r' || value[end+1] != '\n' {
		return 0
	}
	f.Name, f.Value, f.Kind = buf[:colon], trim(value[:end]), kind
	return colon + 1 + end + 2
}

// parseName parses a name that is not in the table, but may be any token, or has blanks
// behind it. It returns where its colon is.
func parseName(line []byte, s syntax) (name []byte, kind Kind, colon int, err *Error) {
	colon, classes := token(line)
	name = line[:colon]
	if s == lenient && colon > 0 && colon < len(line) && line[colon] != ':' {
		// RFC 9112 section 5.1: a proxy removes blanks before the colon.
		colon = len(line) - len(skipBlanks(line[colon:], s))
	}
	if len(name) == 0 || colon == len(line) || line[colon] != ':' {
		if line[0] == ' ' || line[0] == '\t' {
			return nil, Other, 0, ErrFold
		}
		return nil, Other, 0, ErrFieldName
	}
	if len(name) < colon {
		kind = KindOf(name)
	}
	if classes&classPunct != 0 && kind == Other {
		kind = resembledKind(name)
	}
	return name, kind, colon, nil
}
