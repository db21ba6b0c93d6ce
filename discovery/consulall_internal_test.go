package discovery

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"serai/consul"
)

// manyUnwatched are services without queries of their own, all of which have one instance.
func manyUnwatched(t *testing.T, r *consulRun, n int) (all []*followed, ours map[string]bool) {
	ours = make(map[string]bool)
	for n := range n {
		f := &followed{name: fmt.Sprint("s", n), key: Key{ConsulNamespace, fmt.Sprint("s", n)}, listed: true}
		r.followed[f.name], ours[f.name] = f, true
		r.unread++
		r.believe(f, listOf(f, 10, "1"), true, time.Now())
		all = append(all, f)
	}
	return all, ours
}

func listOf(f *followed, index uint64, ids ...string) *consulListing {
	l := &consulListing{meta: consul.Meta{Index: index}}
	for _, id := range ids {
		e := taggedEntry(id, 5)
		e.Service.Service = f.name
		l.entries = append(l.entries, e)
	}
	return l
}

// read are the services that are read at once, in their order, which have ended then.
func (r *consulRun) readNow() (names []string) {
	for range maxReads {
		f := r.nextToRead()
		if f == nil {
			break
		}
		f.queued, f.later = false, false
		names = append(names, f.name)
	}
	return names
}

// TestConsulDeploysComeFirst: of services without a query of their own, those whose instances
// have come or gone lately are read first when the list moves; all others have their turn at
// half the rate, however many there are of these, and have one place each.
func TestConsulDeploysComeFirst(t *testing.T) {
	r := runOf(t, ConsulOptions{})
	r.pace = rate.NewLimiter(rate.Every(time.Hour), 4)
	all, ours := manyUnwatched(t, r, 200)
	for _, f := range all {
		if !f.moved.IsZero() {
			t.Fatal("the first reading counts as a deploy")
		}
	}
	r.believe(all[7], listOf(all[7], 20, "1", "2"), true, time.Now())
	r.believe(all[9], listOf(all[9], 20, "1"), true, time.Now()) // as it was
	r.believe(all[8], listOf(all[8], 21), true, time.Now().Add(time.Millisecond))
	r.believe(all[6], listOf(all[6], 22, "2"), true, time.Now().Add(-time.Hour))
	first := make(map[string]int)
	for index := range uint64(5) {
		r.list(ours, consul.Meta{Index: 30 + index})
		r.turnOfDeploy, r.paused = true, false
		r.pace = rate.NewLimiter(rate.Every(time.Hour), 4)
		now := r.readNow()
		if len(now) != 4 || now[0] != "s8" || now[2] != "s7" {
			t.Fatalf("read are %v, want s8 and s7, and between them another one", now)
		}
		first[now[1]]++
		first[now[3]]++
		if len(r.all) > len(all) {
			t.Fatalf("%d of %d services wait", len(r.all), len(all))
		}
	}
	// A deploy takes no turn of the others, of which each is read once.
	r.pace, r.paused = rate.NewLimiter(rate.Inf, 1), false
	for range 3 * len(all) {
		r.list(ours, consul.Meta{Index: r.catalog + 1})
		r.turnOfDeploy = true
		r.nextToRead() // of a deploy
		if f := r.nextToRead(); f != nil {
			f.later = false
			first[f.name]++
		}
	}
	for _, f := range all {
		if n := first[f.name]; n < 2 || n > 5 {
			t.Errorf("%s has been read %d times in its turn", f.name, n)
		}
	}
	for f := range r.followed {
		if of := r.followed[f]; of.inAll != contains(r.all, of) {
			t.Errorf("%s: has a place %v", f, of.inAll)
		}
	}
}

func contains(all []*followed, f *followed) bool {
	for _, o := range all {
		if o == f {
			return true
		}
	}
	return false
}

// TestConsulAnewAllOver: whatever waits for its turn when everything is asked for anew is asked for.
func TestConsulAnewAllOver(t *testing.T) {
	r := runOf(t, ConsulOptions{})
	r.pace = rate.NewLimiter(rate.Every(time.Hour), 1)
	_, ours := manyUnwatched(t, r, 20)
	r.list(ours, consul.Meta{Index: 30})
	r.drain()
	r.again(true)
	if len(r.all) != 0 || len(r.queue) != 20 {
		t.Errorf("%d wait for their turn, %d are to be read", len(r.all), len(r.queue))
	}
	r.queue = nil
	for _, f := range r.followed {
		f.queued = false
	}
	r.list(ours, consul.Meta{Index: 31})
	if len(r.all) != 20 {
		t.Errorf("%d wait for their turn", len(r.all))
	}
}
