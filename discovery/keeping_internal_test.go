package discovery

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"serai/nomad"
)

// registered is a registration whose tags have so many bytes.
func registered(namespace, service, id string, created uint64, bytes int) nomad.Registration {
	return nomad.Registration{ID: id, ServiceName: service, Namespace: namespace, AllocID: "alloc-" + id, CreateIndex: created, ModifyIndex: created,
		Tags: []string{fmt.Sprintf("ingress.host=%0*d", bytes, 0)}, Address: "10.0.0.1", Port: 80}
}

func event(r nomad.Registration) *nomad.Event {
	return &nomad.Event{Index: r.ModifyIndex, Registration: r}
}

// count is how many registrations a view keeps of a namespace.
func (v *view) count(namespace string) (n int) {
	for _, s := range v.services {
		if s.Namespace == namespace {
			n += len(s.Instances)
		}
	}
	return n
}

// TestRegistrationsAreBounded: a tenant that registers without end keeps no more than its
// namespace may, in number and in bytes, what came first stays, and others are not
// concerned.
func TestRegistrationsAreBounded(t *testing.T) {
	for _, test := range []struct {
		name   string
		bounds Bounds
		size   int
		want   int
		quota  string
	}{
		{"number", Bounds{Registrations: Bound{100, 150}}, 10, 100, "registrations-namespace"},
		{"bytes", Bounds{Bytes: Bound{100_000, 200_000}}, 9_000, 10, "registration-bytes-namespace"},
		{"total", Bounds{Registrations: Bound{0, 100}}, 10, 100, "registrations-total"},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := NewStore(test.bounds)
			v := newView("ingress", nil, store)
			v.apply(event(registered("honest", "web", "first", 1, 10)), v.changed)
			for i := range 2000 { // services of their own, so that nothing bounds their number but this
				v.apply(event(registered("evil", fmt.Sprint("s", i), fmt.Sprintf("i%05d", i), uint64(i+2), test.size)), v.changed)
			}
			want := test.want
			if test.bounds.Registrations.Namespace == 0 && test.bounds.Registrations.Total > 0 {
				want-- // the honest one
			}
			if n := v.count("evil"); n != want {
				t.Errorf("it keeps %d, want %d", n, want)
			}
			if v.services[Key{"evil", "s0"}].Instances == nil || v.count("honest") != 1 {
				t.Error("what came first has gone")
			}
			if n := len(v.services); n > test.want+1+maxHollow {
				t.Errorf("%d services are named", n)
			}
			if n := len(v.known); n > test.want+1+maxHollow {
				t.Errorf("%d services are remembered", n)
			}
			if r := v.services[Key{"evil", fmt.Sprint("s", want)}].Refused; r == nil || r.Quota != test.quota || r.Instances != 1 {
				t.Errorf("refused: %+v", r)
			}
			status := store.Status()
			if status[number].Used != want+1 {
				t.Errorf("%+v", status)
			}
		})
	}
}

// TestFirstRegistrationsFit: two namespaces that keep all they may leave room for the
// first registrations of a third.
func TestFirstRegistrationsFit(t *testing.T) {
	v := newView("ingress", nil, NewStore(Bounds{Registrations: Bound{100, 200}, Bytes: Bound{100_000, 200_000}}))
	for _, namespace := range []string{"a", "b"} {
		for i := range 300 {
			v.apply(event(registered(namespace, "s", fmt.Sprintf("i%05d", i), uint64(i+1), 300)), v.changed)
		}
	}
	for i := range 4 {
		namespace := fmt.Sprint("n", i)
		v.apply(event(registered(namespace, "web", "one", 1000, 300)), v.changed)
		if v.count(namespace) != 1 {
			t.Errorf("no room for the first registration of %s: %+v", namespace, v.store.Status())
		}
	}
}

// TestRefusedComesBack: what was refused is read again when there may be room.
func TestRefusedComesBack(t *testing.T) {
	v := newView("ingress", nil, NewStore(Bounds{Registrations: Bound{2, 4}}))
	regs := []nomad.Registration{registered("n", "s", "a", 1, 1), registered("n", "s", "b", 2, 1), registered("n", "s", "c", 3, 1)}
	for i := range regs {
		v.apply(event(regs[i]), v.changed)
	}
	if v.count("n") != 2 || v.lacks() {
		t.Errorf("%d are kept, and room is seen where none is", v.count("n"))
	}
	v.apply(&nomad.Event{Index: 4, Deleted: true, Registration: regs[0]}, v.changed)
	if !v.lacks() || v.lacks() {
		t.Error("that there is room is not told, or told twice")
	}
	v.replace(Key{"n", "s"}, regs[1:], 4)
	if s := v.services[Key{"n", "s"}]; len(s.Instances) != 2 || s.Refused != nil {
		t.Errorf("%+v", s)
	}
}

// TestKeptAlikeInEveryOrder: whatever happened before, a view keeps no more than it may,
// counts right, and of one namespace it keeps the oldest, whatever the order in which they
// came.
func TestKeptAlikeInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := NewStore(Bounds{Registrations: Bound{8, 16}})
		v := newView("ingress", nil, store)
		all := make(map[Key][]nomad.Registration)
		index := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			index++
			key := Key{"n", fmt.Sprint("s", rapid.IntRange(0, 3).Draw(t, "service"))}
			regs := all[key]
			switch at := rapid.IntRange(0, 4).Draw(t, "what"); {
			case at == 0 && len(regs) > 0:
				gone := regs[0]
				all[key] = regs[1:]
				v.apply(&nomad.Event{Index: index, Deleted: true, Registration: gone}, v.changed)
			default:
				r := registered(key.Namespace, key.Name, fmt.Sprintf("i%03d", index), index, 1)
				all[key] = append(regs, r)
				v.apply(event(r), v.changed)
			}
		}
		var ages []uint64
		for _, n := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "order") { // as a check reads them
			key := Key{"n", fmt.Sprint("s", n)}
			v.replace(key, all[key], index)
			for _, r := range all[key] {
				ages = append(ages, r.CreateIndex)
			}
		}
		slices.Sort(ages)
		ages = ages[:min(len(ages), 8)]
		var kept []uint64
		for _, s := range v.services {
			for _, i := range s.Instances {
				kept = append(kept, i.Created)
			}
		}
		slices.Sort(kept)
		if len(kept) > 8 || store.Status()[number].Used != len(kept) {
			t.Fatalf("%d are kept, counted as %d", len(kept), store.Status()[number].Used)
		}
		// One that has made room for an older one may be missing until the next check.
		fresh := newView("ingress", nil, NewStore(Bounds{Registrations: Bound{8, 16}}))
		for _, n := range rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "fresh order") {
			key := Key{"n", fmt.Sprint("s", n)}
			fresh.replace(key, all[key], index)
		}
		kept = nil
		for _, s := range fresh.services {
			for _, i := range s.Instances {
				kept = append(kept, i.Created)
			}
		}
		slices.Sort(kept)
		if !slices.Equal(kept, ages) {
			t.Fatalf("a start keeps %v, want %v", kept, ages)
		}
	})
}
