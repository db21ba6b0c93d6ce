package keys

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"io"
)

// maxDepth bounds how deep objects and arrays may stand in each other.
const maxDepth = 16

var (
	errDeep      = errors.New("the JSON is nested too deep")
	errNotObject = errors.New("the JSON is not one object")
)

// ParseObject reads a JSON object as RFC 8725 section 2.6 and RFC 7519 section 4 want it:
// UTF-8, no member twice, nothing behind it. A number is a json.Number, as it was
// written: a float64 would make one user of two whose numbers are long.
func ParseObject(text []byte) (map[string]any, error) {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	if d.PeekKind() != jsontext.KindBeginObject {
		return nil, errNotObject
	}
	v, err := parseValue(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errNotObject
	}
	return v.(map[string]any), nil
}

func parseValue(d *jsontext.Decoder) (any, error) {
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	if d.StackDepth() > maxDepth {
		return nil, errDeep
	}
	switch t.Kind() {
	case jsontext.KindString:
		return t.String(), nil
	case jsontext.KindNumber:
		return json.Number(t.String()), nil
	case jsontext.KindTrue, jsontext.KindFalse:
		return t.Bool(), nil
	case jsontext.KindNull:
		return nil, nil
	case jsontext.KindBeginObject:
		return parseMembers(d)
	}
	list := []any{}
	for d.PeekKind() != jsontext.KindEndArray {
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err = d.ReadToken()
	return list, err
}

// parseMembers reads the rest of an object. The decoder refuses a name that comes twice.
func parseMembers(d *jsontext.Decoder) (any, error) {
	members := make(map[string]any)
	for d.PeekKind() != jsontext.KindEndObject {
		t, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := t.String()
		v, err := parseValue(d)
		if err != nil {
			return nil, err
		}
		members[name] = v
	}
	_, err := d.ReadToken()
	return members, err
}
