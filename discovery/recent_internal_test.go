package discovery

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"serai/nomad"
)

// TestRecentIsBounded: a tenant whose registrations come and go while something is read takes
// no more memory than its namespace may, and others' events stay.
func TestRecentIsBounded(t *testing.T) {
	r := newRecent(NewStore(Bounds{Bytes: Bound{100_000, 200_000}}))
	r.add(event(registered("honest", "web", "w", 1, 10)))
	for i := range 1000 {
		e := event(registered("calm", "a", fmt.Sprint("c", i%5), uint64(i+2), 10_000)) // the same five again and again
		r.add(e)
		e.Deleted = true
		r.add(e)
	}
	if r.lost["calm"] || len(r.of(Key{"calm", "a"})) != 5 || r.of(Key{"calm", "a"})[0].Registration.Tags != nil {
		t.Errorf("of five registrations, %d events are kept", len(r.of(Key{"calm", "a"})))
	}
	for i := range 1000 {
		r.add(event(registered("evil", fmt.Sprint("s", i), fmt.Sprint("e", i), uint64(i+2), 10_000)))
		if all := r.room.Status()[volume].Used; all > 200_000 {
			t.Fatalf("%d bytes are kept", all)
		}
	}
	if !r.lost["evil"] || r.lost["honest"] || len(r.of(Key{"honest", "web"})) != 1 {
		t.Errorf("lost %v", r.lost)
	}
	for key := range r.events {
		if key.Namespace == "evil" {
			t.Errorf("%v is kept in part", key)
		}
	}
}

// TestRecentIsAllThatMatters: of what is read and then changed by the events that are kept, all
// that has our tags is the same as by all events.
func TestRecentIsAllThatMatters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := NewStore(Bounds{})
		all, kept := newView("ingress", nil, store), newView("ingress", nil, store)
		r := newRecent(store)
		key := Key{"default", "web"}
		base := []nomad.Registration{registered("default", "web", "0", 1, 3), registered("default", "web", "1", 2, 3)}
		read := rapid.IntRange(2, 20).Draw(t, "read") // the index as of which it is read
		var events []*nomad.Event
		for i, n := 3, rapid.IntRange(0, 20).Draw(t, "events"); i < n+3; i++ {
			reg := registered("default", "web", fmt.Sprint(rapid.IntRange(0, 3).Draw(t, "id")), uint64(i), rapid.IntRange(1, 3).Draw(t, "size"))
			if rapid.IntRange(0, 4).Draw(t, "ours") == 0 {
				reg.Tags = []string{"other"}
			}
			e := event(reg)
			e.Deleted = rapid.Bool().Draw(t, "deleted")
			events = append(events, e)
		}
		for _, e := range events { // what Nomad has at that index
			if int(e.Index) > read {
				break
			}
			base = slices.DeleteFunc(base, func(b nomad.Registration) bool { return b.ID == e.Registration.ID })
			if !e.Deleted {
				base = append(base, e.Registration)
			}
		}
		for _, v := range []*view{all, kept} {
			v.replace(key, base, uint64(read))
		}
		for _, e := range events {
			all.apply(e, all.changed)
			r.add(e)
		}
		for _, e := range r.of(key) {
			kept.apply(e, kept.changed)
		}
		ours := func(v *view) (instances []*Instance) {
			if s := v.services[key]; s != nil {
				for _, i := range s.Instances {
					if carries(i.Tags, "ingress") {
						instances = append(instances, i)
					}
				}
			}
			return instances
		}
		if a, b := ours(all), ours(kept); !slices.EqualFunc(a, b, same) {
			t.Fatalf("all events give %v, those that are kept %v", a, b)
		}
	})
}
