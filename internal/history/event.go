package history

import (
	"log/slog"
	"strings"
	"unicode/utf8"
)

// Bounds of what one event keeps of a line, most of which comes from tags.
const (
	maxName    = 256 // bytes of a name
	maxText    = 600 // bytes of the reason
	maxDetails = 8
)

// eventOf makes the event of a line.
func eventOf(kind Kind, r *slog.Record, attrs []slog.Attr) *Event {
	e := &Event{Kind: kind, Time: r.Time.Round(0).UTC(), Level: r.Level.String(), Message: r.Message, Times: 1}
	for _, a := range attrs {
		e.add(a)
	}
	r.Attrs(func(a slog.Attr) bool {
		e.add(a)
		return true
	})
	return e
}

// add takes a field of the line.
func (e *Event) add(a slog.Attr) {
	value := a.Value.Resolve().String()
	if value == "" {
		return
	}
	if name := e.name(a.Key); name != nil {
		*name = shorten(value, maxName)
		return
	}
	switch a.Key {
	case "why", "cause", "reason", "problem", "error":
		if e.Why != "" {
			e.Why += ": "
		}
		e.Why = shorten(e.Why+value, maxText)
		return
	}
	if e.Details == nil {
		e.Details = make(map[string]string)
	}
	if len(e.Details) < maxDetails {
		e.Details[shorten(a.Key, maxName)] = shorten(value, maxText)
	}
}

// name returns the part of the subject that a key names, nil for none.
func (s *Subject) name(key string) *string {
	switch key {
	case "namespace":
		return &s.Namespace
	case "service":
		return &s.Service
	case "route":
		return &s.Route
	case "host":
		return &s.Host
	case "address":
		return &s.Address
	case "alloc":
		return &s.Alloc
	case "source":
		return &s.Source
	}
	return nil
}

// shorten cuts valid UTF-8 of at most that many bytes.
func shorten(s string, most int) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= most {
		return s
	}
	at := most - len("…")
	for !utf8.RuneStart(s[at]) {
		at--
	}
	return strings.Clone(s[:at]) + "…"
}
