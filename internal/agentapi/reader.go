package agentapi

import (
	"bytes"
	"encoding/json"
	"encoding/json/jsontext"
	"errors"
	"io"
)

// maxBegin is how much is kept of the beginning of an answer, for an error.
const maxBegin = 4 << 10

// Reader reads a JSON answer part by part as it arrives. It needs memory for one text, of
// MaxText bytes where its caller says so, however long the answer is; the rest is for the
// caller to bound.
type Reader struct {
	clip clip
	json *jsontext.Decoder
}

// NewReader makes a Reader of an answer's body, of which texts are cut off at so many bytes,
// such as MaxText. The caller closes the body.
func NewReader(body io.Reader, maxText int) *Reader {
	r := &Reader{clip: clip{from: body, max: maxText}}
	r.json = jsontext.NewDecoder(&r.clip, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	return r
}

// Begin returns how the answer begins, for the error of one of which no more is to be read.
func (r *Reader) Begin() []byte {
	for p := make([]byte, maxBegin); len(r.clip.begin) < maxBegin; {
		if _, err := r.clip.Read(p); err != nil {
			break
		}
	}
	return r.clip.begin
}

// Size returns how many bytes of the answer have arrived, and Broken why no more of it did:
// nil where it has ended as it should, or has not been read to its end.
func (r *Reader) Size() int64 { return r.clip.size }
func (r *Reader) Broken() error {
	if r.clip.err == io.EOF {
		return nil
	}
	return r.clip.err
}

// errType is the error of a part that is something else than what was asked for.
var errType = errors.New("a part of the answer is of another type")

// Array reads a list. Each is called for each element, and must read it. A null is no
// list: some is false then.
func (r *Reader) Array(each func() error) (some bool, err error) {
	return r.group(jsontext.KindBeginArray, jsontext.KindEndArray, each)
}

// Object reads an object. Each is called with the name of each member, and must read its
// value. A null is no object: some is false then.
func (r *Reader) Object(each func(name string) error) (some bool, err error) {
	return r.group(jsontext.KindBeginObject, jsontext.KindEndObject, func() error {
		name, err := r.json.ReadToken()
		if err != nil {
			return err
		}
		return each(name.String())
	})
}

func (r *Reader) group(begin, end jsontext.Kind, each func() error) (some bool, err error) {
	t, err := r.json.ReadToken()
	switch {
	case err != nil:
		return false, err
	case t.Kind() == jsontext.KindNull:
		return false, nil
	case t.Kind() != begin:
		return false, errType
	}
	for r.json.PeekKind() != end {
		if r.json.PeekKind() == jsontext.KindInvalid {
			_, err := r.json.ReadToken() // which says why
			return false, err
		}
		if err := each(); err != nil {
			return false, err
		}
	}
	_, err = r.json.ReadToken()
	return err == nil, err
}

// Text reads a text, as much of it as NewReader says. A null is an empty one.
func (r *Reader) Text() (string, error) {
	t, err := r.json.ReadToken()
	switch {
	case err != nil:
		return "", err
	case t.Kind() == jsontext.KindNull:
		return "", nil
	case t.Kind() != jsontext.KindString:
		return "", errType
	}
	return t.String(), nil
}

// Texts reads a list of texts, of which it keeps so many bytes at most. Cut says that it has
// not kept all: there are more, or one is longer than is read.
func (r *Reader) Texts(most int) (texts []string, cut bool, err error) {
	size := 0
	_, err = r.Array(func() error {
		text, err := r.Text()
		if size += len(text); size > most || len(text) >= r.clip.max {
			cut = true
		}
		if err == nil && size <= most {
			texts = append(texts, text)
		}
		return err
	})
	return texts, cut, err
}

// Value reads whatever comes next into out, as encoding/json does.
func (r *Reader) Value(out any) error {
	text, err := r.json.ReadValue()
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

// Skip reads whatever comes next, of any depth that jsontext takes.
func (r *Reader) Skip() error { return r.json.SkipValue() }

// End reads the end of the answer: nothing but white space may follow.
func (r *Reader) End() error {
	_, err := r.json.ReadToken()
	switch {
	case err == io.EOF:
		return nil
	case err == nil:
		return errors.New("more follows the answer's end")
	}
	return err
}

// Why says in other words why an answer could not be read that is not one of JSON.
func (r *Reader) Why(err error) error {
	switch {
	case len(bytes.TrimSpace(r.Begin())) == 0:
		return errors.New("the answer is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("unexpected end of JSON input")
	}
	return err
}
