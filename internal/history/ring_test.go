package history

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// decision is an event as Tell makes it.
func decision(namespace, service, address string, kind Kind, at time.Time) *Event {
	return &Event{Kind: kind, Time: at, Times: 1, Subject: Subject{Namespace: namespace, Service: service, Address: address}, Message: "m"}
}

// TestOneCall: the line of the log and the event have the same words.
func TestOneCall(t *testing.T) {
	var log bytes.Buffer
	ring := NewRing(0)
	logger := Logger(slog.New(slog.NewTextHandler(&log, nil)), ring).With("source", "nomad *")
	Tell(logger, slog.LevelWarn, InstanceEjected, "instance is ejected", "address", "10.0.0.1:80", "alloc", "a1", "namespace", "shop", "service", "web", "for", 10*time.Second, "cause", "5 failures in a row")
	Tell(logger, slog.LevelDebug, InstanceReady, "instance is ready", "address", "10.0.0.1:80")
	logger.Info("something else", "address", "10.0.0.1:80")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "event=instance-ejected") || strings.Contains(lines[1], "event=") {
		t.Fatalf("the log is\n%s", log.String())
	}
	events, _ := ring.Since(0)
	if len(events) != 2 {
		t.Fatalf("there are %d events", len(events))
	}
	e := events[0]
	want := Subject{Namespace: "shop", Service: "web", Address: "10.0.0.1:80", Alloc: "a1", Source: "nomad *"}
	if e.Subject != want || e.Why != "5 failures in a row" || e.Details["for"] != "10s" || e.Level != "WARN" || e.Kind != InstanceEjected || e.Message != "instance is ejected" {
		t.Errorf("the event is %+v", e)
	}
	if events[1].Level != "DEBUG" {
		t.Errorf("what is not logged is not kept: %+v", events[1])
	}
	for _, word := range []string{e.Message, e.Why, e.Address, e.Alloc, e.Source} {
		if !strings.Contains(lines[0], word) {
			t.Errorf("the line lacks %q: %s", word, lines[0])
		}
	}
	if RingOf(logger) != ring || RingOf(slog.New(slog.DiscardHandler)) != nil {
		t.Error("RingOf is wrong")
	}
}

// TestForeignBytesAreBound: names, reasons and details are cut, and valid UTF-8.
func TestForeignBytesAreBound(t *testing.T) {
	ring := NewRing(0)
	logger := Logger(slog.New(slog.DiscardHandler), ring)
	long := strings.Repeat("ü", 10000) + "\xff"
	args := []any{"service", long, "why", long, "error", long}
	for i := range 100 {
		args = append(args, fmt.Sprint(long, i), long)
	}
	Tell(logger, slog.LevelInfo, Rejected, "refused", args...)
	events, _ := ring.Since(0)
	e := events[0]
	total := len(e.Service) + len(e.Why)
	for k, v := range e.Details {
		total += len(k) + len(v)
	}
	if total > 3*maxName+maxText+maxDetails*(maxName+maxText) || len(e.Service) > maxName || strings.ContainsRune(e.Service, '\uFFFD') {
		t.Errorf("the event has %d bytes, its service is %q", total, e.Service)
	}
}

// TestRepetitionsAreCounted within a minute, and have their own entry after it.
func TestRepetitionsAreCounted(t *testing.T) {
	ring := NewRing(0)
	at := time.Now()
	for i := range 5 {
		ring.add(decision("a", "s", "1", InstanceLost, at.Add(time.Duration(i)*50*time.Second)))
		ring.add(decision("a", "s", "1", InstanceReadmitted, at.Add(time.Duration(i)*50*time.Second)))
	}
	events, _ := ring.Since(0)
	if len(events) != 2 || events[0].Times != 5 || events[1].Times != 5 || !events[0].First.Equal(at) || events[0].FirstID >= events[0].ID {
		t.Fatalf("there are %d events: %+v", len(events), events[0])
	}
	ring.add(decision("a", "s", "1", InstanceLost, at.Add(time.Hour)))
	if events, _ = ring.Since(0); len(events) != 3 || events[2].Times != 1 {
		t.Errorf("an hour later there are %d events", len(events))
	}
	if n := ring.Status().Counts[InstanceLost]; n != 6 {
		t.Errorf("%d are counted", n)
	}
}

// TestIDsOutliveTheClock: they grow although the clock goes back.
func TestIDsOutliveTheClock(t *testing.T) {
	ring := NewRing(0)
	now := time.Now()
	ring.now = func() time.Time { return now }
	last := int64(0)
	for i := range 10 {
		now = now.Add(-time.Hour)
		ring.add(decision("a", fmt.Sprint(i), "1", Rejected, now))
		events, _ := ring.Since(last)
		if len(events) != 1 || events[0].ID <= last {
			t.Fatalf("after %d: %v", last, events)
		}
		last = events[0].ID
	}
}

// TestNobodyPushesOthersOut lets namespaces and services decide as often as they like. One that
// has no more than its share of the ring loses nothing; the counts are those of what is kept.
func TestNobodyPushesOthersOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(t, "size")
		ring := NewRing(size)
		at := time.Now()
		told := make(map[string]int)             // by namespace, of different decisions
		toldBy := make(map[string]map[party]int) // and by service
		for i := range rapid.IntRange(0, 120).Draw(t, "decisions") {
			namespace := rapid.SampledFrom([]string{"", "a", "a", "a", "a", "b", "c"}).Draw(t, "namespace")
			service := rapid.SampledFrom([]string{"x", "x", "x", "x", "y", "z"}).Draw(t, "service")
			at = at.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "pause")) * time.Second)
			e := decision(namespace, service, fmt.Sprint(i), InstanceReady, at)
			ring.add(e)
			told[namespace]++
			if toldBy[namespace] == nil {
				toldBy[namespace] = make(map[party]int)
			}
			toldBy[namespace][e.party()]++
		}
		events, _ := ring.Since(0)
		kept, keptBy := make(map[string]int), make(map[party]int)
		for i, e := range events {
			kept[e.Namespace]++
			keptBy[e.party()]++
			if i > 0 && e.ID <= events[i-1].ID {
				t.Fatalf("the IDs are not in order")
			}
		}
		all := 0
		for namespace, n := range told {
			all += n
			share := size / len(told)
			if kept[namespace] < min(n, share) {
				t.Fatalf("of %d decisions of %q %d are kept, its share is %d", n, namespace, kept[namespace], share)
			}
			for p, n := range toldBy[namespace] {
				if share := share / len(toldBy[namespace]); keptBy[p] < min(n, share) {
					t.Fatalf("of %d decisions of %v %d are kept, its share is %d", n, p, keptBy[p], share)
				}
			}
		}
		s := ring.Status()
		if len(events) != min(all, size) || s.Kept != len(events) || s.Forgotten != uint64(all-len(events)) {
			t.Fatalf("%d of %d are kept with %d places: %+v", len(events), all, size, s)
		}
		if len(ring.latest) > len(events) || len(ring.held) != len(kept) || len(ring.heldBy) != len(keptBy) {
			t.Fatalf("%d, %d and %d are noted", len(ring.latest), len(ring.held), len(ring.heldBy))
		}
	})
}

// TestFollowersMissNothing: who asks for what follows sees each event once, in order.
func TestFollowersMissNothing(t *testing.T) {
	ring := NewRing(10000)
	const writers, each = 4, 500
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := range each {
				ring.add(decision(fmt.Sprint(w), "s", fmt.Sprint(i), InstanceReady, time.Now()))
			}
		})
	}
	seen, last := make(map[string]bool), int64(0)
	for len(seen) < writers*each {
		events, next := ring.Since(last)
		for _, e := range events {
			key := e.Namespace + "/" + e.Address
			if seen[key] || e.ID <= last {
				t.Fatalf("%s is seen again, or too late", key)
			}
			seen[key], last = true, e.ID
		}
		if len(events) == 0 {
			<-next
		}
	}
	running.Wait()
}

// TestKinds has no word twice.
func TestKinds(t *testing.T) {
	seen := make(map[Kind]bool)
	for _, k := range Kinds() {
		if seen[k] || k == "" {
			t.Errorf("%q is there twice", k)
		}
		seen[k] = true
	}
}

func BenchmarkAddToAFullRing(b *testing.B) {
	ring := NewRing(0)
	b.ReportAllocs()
	for i := range b.N {
		ring.add(decision(fmt.Sprint(i%7), fmt.Sprint(i%100), fmt.Sprint(i), InstanceReady, time.Now()))
	}
}
