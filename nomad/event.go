package nomad

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Batch is one line of the event stream: the service events of one change. A
// heartbeat is a Batch without events and with Index 0.
type Batch struct {
	Index    uint64
	Events   []Event
	Received time.Time
	// Lost says that the line was longer than Limits.Line and was not read: what changed
	// is unknown, and Index is 0.
	Lost bool
}

// Heartbeat reports whether the line is a heartbeat.
func (b Batch) Heartbeat() bool { return b.Index == 0 && len(b.Events) == 0 && !b.Lost }

// Event says that an instance was registered or changed, or that it is gone.
type Event struct {
	// Index is the index of the change, which for a deletion is newer than the
	// Registration's ModifyIndex.
	Index uint64
	// Deleted says that the Registration is gone. Registration is then the last known
	// one.
	Deleted      bool
	Registration Registration
}

// topicService and typeRegistration are their names in the API.
const (
	topicService     = "Service"
	typeRegistration = "ServiceRegistration"
)

type lineAnswer struct {
	Index  uint64
	Events []struct {
		Topic   string
		Type    string
		Index   uint64
		Payload struct{ Service *Registration }
	}
}

// decodeBatch decodes one line. An event that cannot be decoded is an error of the
// whole line, because skipping it would leave a wrong state; a full re-read repairs
// that. The token must not appear in any error.
//
// On topic Service any type but ServiceRegistration is a deletion: an instance
// that goes with its allocation or node carries the type of that change.
func decodeBatch(line []byte, token string) (Batch, error) {
	line = bytes.TrimSpace(line)
	if bytes.Equal(line, []byte("{}")) {
		return Batch{}, nil
	}
	// Unmarshal accepts null for any type, which would look like a heartbeat.
	if len(line) == 0 || line[0] != '{' {
		return Batch{}, fmt.Errorf("a line of the event stream is not a JSON object: %q", excerpt(line, token))
	}
	var l lineAnswer
	if err := json.Unmarshal(line, &l); err != nil {
		return Batch{}, fmt.Errorf("a line of the event stream does not decode: %w: %q", err, excerpt(line, token))
	}
	b := Batch{Index: l.Index}
	// An object without an index is no heartbeat either: it may be an error of
	// something else.
	if l.Index == 0 {
		return Batch{}, fmt.Errorf("a line of the event stream has no index: %q", excerpt(line, token))
	}
	for _, e := range l.Events {
		if e.Topic != topicService {
			continue
		}
		if e.Payload.Service == nil {
			return Batch{}, fmt.Errorf("a %s event at index %d has no registration: %q", e.Type, l.Index, excerpt(line, token))
		}
		if e.Type == "" {
			return Batch{}, fmt.Errorf("an event at index %d has no type: %q", l.Index, excerpt(line, token))
		}
		if err := checkRegistration(e.Payload.Service); err != nil {
			return Batch{}, fmt.Errorf("a %s event at index %d: %w", e.Type, l.Index, err)
		}
		index := e.Index
		if index == 0 {
			index = l.Index
		}
		b.Events = append(b.Events, Event{Index: index, Deleted: e.Type != typeRegistration, Registration: *e.Payload.Service})
	}
	return b, nil
}
