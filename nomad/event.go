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
}

// Heartbeat tells whether the line carried nothing but life.
func (b Batch) Heartbeat() bool { return b.Index == 0 && len(b.Events) == 0 }

// Event says that an instance was registered or changed, or that it is gone.
type Event struct {
	// Index is that of the change, which for a deletion is newer than the
	// Registration's ModifyIndex.
	Index uint64
	// Deleted says that the Registration is gone. It is then the last one
	// that was known.
	Deleted      bool
	Registration Registration
}

// topicService and typeRegistration are the names on the wire.
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

// decodeBatch reads one line. An event that cannot be understood is an error
// of the whole line, because skipping it would leave a picture that is wrong;
// after a full re-read it does not matter any more. The token is one that no
// error may show.
//
// On topic Service any type but ServiceRegistration is a deletion: an instance
// that goes with its allocation or node carries the type of that change.
func decodeBatch(line []byte, token string) (Batch, error) {
	line = bytes.TrimSpace(line)
	if bytes.Equal(line, []byte("{}")) {
		return Batch{}, nil
	}
	// Unmarshal takes null for any type and would call it a heartbeat.
	if len(line) == 0 || line[0] != '{' {
		return Batch{}, fmt.Errorf("a line of the event stream is no JSON object: %q", excerpt(line, token))
	}
	var l lineAnswer
	if err := json.Unmarshal(line, &l); err != nil {
		return Batch{}, fmt.Errorf("a line of the event stream does not decode: %w: %q", err, excerpt(line, token))
	}
	b := Batch{Index: l.Index}
	// Nor is any other object a heartbeat, such as an error of something else.
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
