package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(marshal(v, ""), '\n'))
}

// answerList writes an array, one element after the other: ten thousand services at
// once would take much memory.
func answerList[T any](w http.ResponseWriter, list iter.Seq[T]) {
	w.Header().Set("Content-Type", "application/json")
	buf := bufio.NewWriterSize(w, 32<<10)
	defer buf.Flush()
	separator := "[\n  "
	for v := range list {
		buf.WriteString(separator)
		if _, err := buf.Write(marshal(v, "  ")); err != nil {
			return // the client has gone
		}
		separator = ",\n  "
	}
	if separator[0] == '[' {
		buf.WriteString("[]\n")
	} else {
		buf.WriteString("\n]\n")
	}
}

// marshal returns v as readable, indented JSON.
func marshal(v any, prefix string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	if err := e.Encode(v); err != nil { // our types cannot fail
		return fmt.Appendf(nil, "%q", err.Error())
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
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
