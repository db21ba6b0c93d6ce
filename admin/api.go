package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"serai/internal/pace"
)

// api are the paths of the stable interface. What they answer is described in docs/api.md,
// and changed only by adding.
func (a *Admin) api() []page {
	return []page{
		{"/api/v1/status", "version, readiness, traffic and counts; ?follow=1 for server-sent events, as with all of /api/v1 but explain", a.followable(a.apiStatus())},
		{"/api/v1/traffic", "requests, errors and latency of the last ten minutes", a.followable(a.apiTraffic())},
		{"/api/v1/routes", "routes with their traffic; ?q= ?host= ?path= ?namespace= ?service= ?route= select; ?sort=rate|errors|latency; ?limit= ?offset=", a.followable(a.apiRoutes())},
		{"/api/v1/instances", "instances; ?q= ?namespace= ?service= ?state= select; ?limit= ?offset=", a.followable(a.apiInstances())},
		{"/api/v1/rejections", "what was refused; ?q= ?namespace= ?service= select; ?limit= ?offset=", a.followable(a.apiRejections())},
		{"/api/v1/certificates", "as /certificates", a.followable(a.apiCertificates())},
		{"/api/v1/events", "what serai has decided: ?since=ID or a time, ?event= ?namespace= ?service= ?q= select, ?limit=, ?follow=1", a.serveEvents},
		{"/api/v1/explain", "as /explain", a.serveExplain},
	}
}

// List is one page of a list.
type List[T any] struct {
	Items []T `json:"items"`
	// Total is how many there are, of which Items are those from Offset on. Next is the
	// offset of the following page, absent on the last one.
	Total  int `json:"total"`
	Offset int `json:"offset"`
	Next   int `json:"next,omitempty"`
}

// itemized is a List of whatever.
type itemized interface {
	marshal() []byte
	compact() []byte
}

// marshal returns the same as package json would, but gives the processor up now and then.
func (l List[T]) marshal() []byte {
	t := newIndented("    ")
	t.WriteString("{\n  \"items\": [")
	var p pace.Pace
	for i := range l.Items {
		if i > 0 {
			t.WriteByte(',')
		}
		t.WriteString("\n    ")
		t.add(l.Items[i])
		p.Step()
	}
	if len(l.Items) > 0 {
		t.WriteString("\n  ")
	}
	t.WriteString("],")
	t.Write(marshal(l.rest())[1:])
	return t.Bytes()
}

// compact returns it in one line.
func (l List[T]) compact() []byte {
	t := newText()
	t.WriteString(`{"items":[`)
	var p pace.Pace
	for i := range l.Items {
		if i > 0 {
			t.WriteByte(',')
		}
		t.add(l.Items[i])
		p.Step()
	}
	t.WriteString("],")
	t.Write(compact(l.rest())[1:])
	return t.Bytes()
}

// rest is a List without its items.
func (l *List[T]) rest() any {
	return struct {
		Total  int `json:"total"`
		Offset int `json:"offset"`
		Next   int `json:"next,omitempty"`
	}{l.Total, l.Offset, l.Next}
}

// The number of items of one page.
const (
	defaultItems = 100
	maxItems     = 1000
)

// window is the part of a list that a request asks for.
type window struct{ offset, limit int }

// windowOf reads ?limit= and ?offset=.
func windowOf(q values) (w window, err error) {
	if w.limit, err = q.number("limit", defaultItems, 1, maxItems); err == nil {
		w.offset, err = q.number("offset", 0, 0, 1<<31)
	}
	return w, err
}

// number reads a number, or returns what it is when it is not given.
func (q values) number(name string, absent, least, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s=%q is not a number from %d to %d", name, text, least, most)
	}
	return n, nil
}

// pageOf returns the part that w asks for of those that are taken, each made by describe. Without takes that is all of
// them, which are not gone through.
func pageOf[T, U any](all []T, takes func(T) bool, w window, describe func(T) U) List[U] {
	limit := cmp.Or(w.limit, defaultItems)
	l := List[U]{Items: []U{}}
	add := func(v T) {
		if cap(l.Items) == 0 {
			l.Items = make([]U, 0, limit)
		}
		l.Items = append(l.Items, describe(v))
	}
	if takes == nil {
		l.Total = len(all)
		from := min(w.offset, l.Total)
		for v := range paced(slices.Values(all[from:min(from+limit, l.Total)])) {
			add(v)
		}
	} else {
		for v := range taken(all, takes) {
			if l.Total >= w.offset && len(l.Items) < limit {
				add(v)
			}
			l.Total++
		}
	}
	l.Offset = min(w.offset, l.Total)
	if to := l.Offset + limit; to < l.Total {
		l.Next = to
	}
	return l
}

// query is what makes an answer of a request's query. Its names are those that it knows.
type query struct {
	names  []string
	answer func(*http.Request, values) (any, error)
	// prepare, where there is one, is called before it is the answer's turn, for what may wait for others, and
	// returns the rest.
	prepare func(*http.Request) func() (any, error)
}

// of returns what makes the answer of a request, when it is its turn.
func (q *query) of(r *http.Request, v values) func() (any, error) {
	if q.prepare != nil {
		return q.prepare(r)
	}
	return func() (any, error) { return q.answer(r, v) }
}

// followable serves an answer, or with ?follow=1 each that differs from the last one, as
// server-sent events.
func (a *Admin) followable(of query) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, ok := parameters(w, r, append(of.names[:len(of.names):len(of.names)], "follow")...)
		if !ok {
			return
		}
		if !follows(r) {
			a.serve(w, r, of.of(r, values{q}))
			return
		}
		q.Del("follow")
		var wrong error
		first := of.of(r, values{q})
		if !a.gate.alone(r.Context(), func() { _, wrong = first() }) {
			return
		}
		if wrong != nil {
			refuse(w, wrong.Error())
			return
		}
		a.stream(w, r, r.URL.Path+"?"+q.Encode(), apiBeat, func() func() []byte {
			make := of.of(r, values{q})
			return func() []byte {
				v, _ := make() // it had no error before
				return compact(v)
			}
		})
	}
}
