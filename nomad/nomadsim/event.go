package nomadsim

import (
	"slices"
	"strings"
	"sync"

	"serai/nomad"
)

// The types of change that can carry a service event.
const (
	typeRegistration      = "ServiceRegistration"
	typeDeregistration    = "ServiceDeregistration"
	typeAllocationUpdated = "AllocationUpdated"
	typePlanResult        = "PlanResult"
)

// event is one event in the API's form.
type event struct {
	Topic      string
	Type       string
	Key        string
	Namespace  string
	FilterKeys []string
	Index      uint64
	Payload    any
}

type servicePayload struct{ Service *nomad.Registration }

// batch is the events of one change, an item of a linked list that each reader follows
// by itself: publishing costs the same for one reader as for a thousand, and each line
// is encoded once for all of them.
type batch struct {
	index  uint64
	events []event

	next    *batch        // set before arrived is closed
	arrived chan struct{} // closed when next is set
	dropped chan struct{} // closed when the buffer has dropped this batch

	mu    sync.Mutex
	lines map[string][]byte // by the namespaces and topics of the reader
}

// eventBuffer remembers the last batches. Guarded by Sim.mu.
type eventBuffer struct {
	head, tail *batch
	size, max  int
}

func newBatch(index uint64, events []event) *batch {
	return &batch{index: index, events: events, arrived: make(chan struct{}), dropped: make(chan struct{})}
}

func newEventBuffer(max int) *eventBuffer {
	b := newBatch(0, nil)
	return &eventBuffer{head: b, tail: b, max: max}
}

func (e *eventBuffer) append(b *batch) {
	e.tail.next = b
	old := e.tail
	e.tail = b
	e.size++
	for e.size > e.max {
		close(e.head.dropped)
		e.head = e.head.next
		e.size--
	}
	close(old.arrived)
}

// startAt is the batch with which a subscription begins: the first with at least index;
// the oldest when index is 0 or forgotten; the newest, although it is older, when there
// is none.
func (e *eventBuffer) startAt(index uint64) *batch {
	b := e.head
	for b.index < index && b != e.tail {
		b = b.next
	}
	if index == 0 {
		return e.head
	}
	return b
}

// publish appends the events of one change. s.mu must be held.
func (s *Sim) publish(eventType string, regs []*nomad.Registration, index uint64) {
	if len(regs) == 0 {
		return
	}
	events := make([]event, len(regs))
	for i, r := range regs {
		events[i] = event{
			Topic: "Service", Type: eventType, Key: r.ID, Namespace: r.Namespace,
			FilterKeys: []string{r.JobID, r.ServiceName}, Index: index,
			Payload: servicePayload{r},
		}
	}
	s.buffer.append(newBatch(index, events))
}

// Noise makes n changes of other things. They use places in the event buffer, and
// indexes. A server applies one change after the other, so earlier changes are
// committed.
func (s *Sim) Noise(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		p.apply()
	}
	s.pending = nil
	s.wake()
	for range n {
		s.index++
		s.buffer.append(newBatch(s.index, []event{{
			Topic: "Node", Type: "NodeEvent", Key: "node-1", Index: s.index, Payload: struct{}{},
		}}))
	}
}

// filter is what a subscription receives. Equal filters have the same key and share
// lines.
type filter struct {
	key        string
	namespaces []string // fixed at the start
	topics     map[string][]string
}

func newFilter(namespaces []string, topics map[string][]string) *filter {
	namespaces = slices.Sorted(slices.Values(namespaces)) // the caller uses the slice elsewhere, too
	var key strings.Builder
	key.WriteString(strings.Join(namespaces, ","))
	names := make([]string, 0, len(topics))
	for t, keys := range topics {
		names = append(names, t+":"+strings.Join(keys, ","))
	}
	slices.Sort(names)
	key.WriteString("|" + strings.Join(names, "|"))
	return &filter{key: key.String(), namespaces: namespaces, topics: topics}
}

func (f *filter) wants(e *event) bool {
	if e.Namespace != "" {
		if _, ok := slices.BinarySearch(f.namespaces, e.Namespace); !ok {
			return false
		}
	}
	keys := slices.Concat(f.topics["*"], f.topics[e.Topic])
	for _, k := range keys {
		if k == "*" || k == e.Key || slices.Contains(e.FilterKeys, k) {
			return true
		}
	}
	return false
}

// line is the batch as f receives it, with a newline; nil when f receives nothing of
// it.
func (b *batch) line(f *filter) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if line, ok := b.lines[f.key]; ok {
		return line
	}
	var wanted []event
	for i := range b.events {
		if f.wants(&b.events[i]) {
			wanted = append(wanted, b.events[i])
		}
	}
	var line []byte
	if len(wanted) > 0 {
		line = append(encode(struct {
			Index  uint64
			Events []event
		}{b.index, wanted}), '\n')
	}
	if b.lines == nil {
		b.lines = map[string][]byte{}
	}
	b.lines[f.key] = line
	return line
}
