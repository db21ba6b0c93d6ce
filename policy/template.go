package policy

import (
	"bytes"
	"strings"
)

// Template is the value of a field, with placeholders for what is known of a request.
// Never modified.
type Template struct {
	text  string
	parts []Part
}

// ParseTemplate reads a value: {host} and its like are placeholders, {{ is a brace. The
// error is a *Mistake.
func ParseTemplate(text string) (*Template, error) {
	t := &Template{text: text}
	literal := ""
	for rest := text; rest != ""; {
		before, behind, found := strings.Cut(rest, "{")
		literal += before
		if !found {
			break
		}
		if brace, doubled := strings.CutPrefix(behind, "{"); doubled {
			literal, rest = literal+"{", brace
			continue
		}
		p := placeholderOf(behind)
		if p == NoPlaceholder {
			return nil, mistake("one of "+placeholders()+", or {{ for a brace", "the value has an unknown placeholder")
		}
		if literal != "" {
			t.parts, literal = append(t.parts, Part{Literal: literal}), ""
		}
		t.parts = append(t.parts, Part{Is: p})
		rest = behind[len(p.String())-1:]
	}
	if literal != "" {
		t.parts = append(t.parts, Part{Literal: literal})
	}
	for i := range len(text) {
		if b := text[i]; b < ' ' && b != '\t' || b >= 0x7f {
			return nil, mistake("printable ASCII", "the value contains a byte that no field should have")
		}
	}
	return t, nil
}

// placeholderOf returns the placeholder whose text, behind its brace, begins s.
func placeholderOf(s string) Placeholder {
	for p := NoPlaceholder + 1; p < numPlaceholders; p++ {
		if p != Query && strings.HasPrefix(s, p.String()[1:]) {
			return p
		}
	}
	return NoPlaceholder
}

// placeholders are all that a value may have.
func placeholders() string {
	var all []string
	for p := NoPlaceholder + 1; p < numPlaceholders; p++ {
		if p != Query {
			all = append(all, p.String())
		}
	}
	return strings.Join(all, " ")
}

// String returns the value as it was written.
func (t *Template) String() string { return t.text }

// literal returns the value if no request changes it.
func (t *Template) literal() (value string, ok bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].Is == NoPlaceholder:
		return t.parts[0].Literal, true
	}
	return "", false
}

// appendValue appends the value for a request; ok is false if it is longer than most
// bytes. Whatever the request contains, it is the value of a field: bytes that a URL
// cannot contain are escaped, and there is no blank at either end, where a placeholder
// for nothing may have left one (RFC 9110 section 5.5).
func (t *Template) appendValue(dst []byte, r Request, most int) (value []byte, ok bool) {
	start := len(dst)
	for _, part := range t.parts {
		if part.Is == NoPlaceholder {
			dst = append(dst, part.Literal...)
		} else {
			begun := len(dst)
			dst = escapeFrom(r.AppendPlaceholder(dst, part.Is), begun)
		}
		if len(dst)-start > most {
			return dst[:start], false
		}
	}
	trimmed := bytes.Trim(dst[start:], " \t")
	return dst[:start+copy(dst[start:], trimmed)], true
}

// escapeFrom escapes what follows the first n bytes.
func escapeFrom(b []byte, n int) []byte {
	for _, c := range b[n:] {
		if !inURL(c) {
			return appendEscaped(b[:n], bytes.Clone(b[n:]))
		}
	}
	return b
}
