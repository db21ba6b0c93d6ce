package wire

import "bytes"

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
	pos := 0
	for n := 1; ; n++ {
		line := buf[pos:]
		end := bytes.IndexByte(line, '\n')
		if end < 0 {
			return fields, 0, ErrIncomplete
		}
		if end == 0 || line[end-1] != '\r' {
			return fields, 0, fieldError(ErrLineEnd, n, nil)
		}
		pos += end + 1
		if end == 1 {
			return fields, pos, nil
		}
		if len(fields) == maxFields {
			return fields, 0, ErrFieldCount
		}
		line = line[:end-1]

		// A name of the table needs no other check: it is a token, and stands before a colon.
		colon := max(bytes.IndexByte(line, ':'), 0)
		name := line[:colon]
		kind, known := find(name)
		if !known {
			var err *Error
			if name, kind, colon, err = parseName(line, s); err != nil {
				return fields, 0, fieldError(err, n, nil)
			}
		}
		value := trim(line[colon+1:])
		if !cleanValue(value) {
			return fields, 0, fieldError(ErrFieldValue, n, name)
		}
		fields = append(fields, Field{name, value, kind})
	}
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
