package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"serai/internal/pace"
)

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(marshal(v), '\n'))
}

// serve answers with what of returns, when its turn has come and there is room for it. An error is
// about the query.
func (a *Admin) serve(w http.ResponseWriter, r *http.Request, of func() (any, error)) {
	var wrong error
	text, ok := admit(a.gate, w, r, func() (text []byte, _ int64) {
		var v any
		if v, wrong = of(); wrong == nil {
			text = append(marshal(v), '\n')
		}
		return text, int64(cap(text))
	})
	if !ok {
		return
	}
	if wrong != nil {
		refuse(w, wrong.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

const (
	// pieceBytes is how much of a list is made at a time, entryBytes what a route or an instance in it may keep in
	// memory until the list has been sent: it may have gone from the table.
	pieceBytes = 32 << 10
	entryBytes = 256
)

// serveList writes an array piece by piece: ten thousand services at once would take
// much memory. What makes it returns how many bytes it holds until its end.
func serveList[T any](a *Admin, w http.ResponseWriter, r *http.Request, of func() (int, iter.Seq[T])) {
	list, ok := admit(a.gate, w, r, func() (iter.Seq[T], int64) {
		holds, list := of()
		return list, 2*pieceBytes + int64(holds)
	})
	if !ok {
		return
	}
	t := turn{gate: a.gate}
	defer t.leave()
	if !t.enter(r.Context()) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	piece := newIndented("  ")
	piece.Grow(2 * pieceBytes)
	separator := "[\n  "
	for v := range paced(list) {
		piece.WriteString(separator)
		piece.add(v)
		separator = ",\n  "
		if piece.Len() < pieceBytes {
			continue
		}
		t.leave() // nobody else waits for this client
		if _, err := w.Write(piece.Bytes()); err != nil || !t.enter(r.Context()) {
			return
		}
		piece.Reset()
	}
	t.leave()
	if separator[0] == '[' {
		piece.WriteString("[]\n")
	} else {
		piece.WriteString("\n]\n")
	}
	w.Write(piece.Bytes())
}

// paced gives the processor up now and then while a list is gone through.
func paced[T any](list iter.Seq[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		var p pace.Pace
		for v := range list {
			if p.Step(); !yield(v) {
				return
			}
		}
	}
}

// jsonText is JSON that is written piece by piece into one buffer.
type jsonText struct {
	bytes.Buffer
	encoder *json.Encoder
}

// newText begins one whose values are written in one line each.
func newText() *jsonText {
	t := new(jsonText)
	t.encoder = json.NewEncoder(&t.Buffer)
	return t
}

// newIndented begins one whose values are readable: each of their lines but the first begins with prefix.
func newIndented(prefix string) *jsonText {
	t := newText()
	t.encoder.SetEscapeHTML(false)
	t.encoder.SetIndent(prefix, "  ")
	return t
}

// add writes a value.
func (t *jsonText) add(v any) {
	if err := t.encoder.Encode(v); err != nil { // our types cannot fail
		fmt.Fprintf(t, "%q\n", err.Error())
	}
	t.Truncate(t.Len() - 1) // the end of the line
}

// marshal returns v as readable, indented JSON.
func marshal(v any) []byte {
	if list, ok := v.(itemized); ok {
		return list.marshal()
	}
	t := newIndented("")
	t.add(v)
	return t.Bytes()
}

// compact returns v as JSON in one line.
func compact(v any) []byte {
	if list, ok := v.(itemized); ok {
		return list.compact()
	}
	t := newText()
	t.add(v)
	return t.Bytes()
}

// refuse answers 400 and says what is wrong.
func refuse(w http.ResponseWriter, why string) {
	answer(w, http.StatusBadRequest, map[string]string{"error": why})
}

// parameters parses the query of a page that knows these names. An unknown name would
// silently select nothing: then it answers 400 and returns false.
func parameters(w http.ResponseWriter, r *http.Request, known ...string) (url.Values, bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		refuse(w, "the query cannot be read: "+err.Error())
		return nil, false
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(known, name) {
			refuse(w, fmt.Sprintf("parameter %q is unknown here; known ones: %s", name, strings.Join(known, ", ")))
			return nil, false
		}
	}
	return q, true
}

// selection is a filter by namespace and service; empty fields match all.
type selection struct{ namespace, service string }

func selected(q url.Values) selection { return selection{q.Get("namespace"), q.Get("service")} }

// takes reports whether the selection matches a service.
func (s selection) takes(namespace, service string) bool {
	return (s.namespace == "" || s.namespace == namespace) && (s.service == "" || s.service == service)
}
