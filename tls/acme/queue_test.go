package acme

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"serai/tls"
)

// TestQueue checks the order of tasks.
func TestQueue(t *testing.T) {
	at := func(minute int) time.Time { return time.Unix(int64(60*minute), 0) }
	due := func(c class, host string, minute int) *task {
		ns, service, _ := strings.Cut(host, "/")
		return &task{Host: Host{Name: host, Namespace: ns, Service: service[:1]}, class: c, at: at(minute)}
	}
	all := []*task{
		due(classRetry, "a/r1", 0), due(classFirst, "a/a1", 0), due(classFirst, "a/a2", 0), due(classFirst, "a/a3", 0),
		due(classFirst, "a/z1", 0), due(classFirst, "b/b1", 0), due(classRenewal, "b/n2", 2), due(classRenewal, "b/n1", 1),
		due(classRenewal, "c/n1", 9), due(classAsked, "c/q1", 0), due(classRetry, "b/r1", 0),
	}
	turns := turns{of: make(map[string]uint64)}
	turns.took(Host{Namespace: "a", Service: "a"}) // a, and its service a, had their turns
	q := newQueue(&turns, all)
	var got []string
	for {
		next := q.next(func(class, string) bool { return true })
		if next == nil {
			break
		}
		turns.took(next.Host)
		got = append(got, next.Name)
	}
	want := "c/q1 b/n1 c/n1 b/n2 a/z1 b/b1 a/a1 a/a2 a/a3 b/r1 a/r1"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("the order is\n%s, want\n%s", s, want)
	}
}

// TestRoom: whatever hangs, there is a place for another namespace and for renewals.
func TestRoom(t *testing.T) {
	for workers := 1; workers <= 16; workers++ {
		r, busy := newRoom(workers), make(map[string]*task)
		fill := func(c class, namespace string) (n int) {
			for r.has(busy, c, namespace) {
				busy[fmt.Sprint(len(busy))] = &task{Host: Host{Namespace: namespace}, class: c}
				n++
			}
			return n
		}
		retries, firsts := fill(classRetry, "evil"), fill(classFirst, "evil")
		if retries+firsts > max(workers/2, 1) || retries > max(workers/4, 1) {
			t.Errorf("%d workers: one namespace has %d retries and %d others under way", workers, retries, firsts)
		}
		if workers < 4 {
			continue
		}
		if fill(classFirst, "good") == 0 || fill(classRenewal, "third") == 0 {
			t.Errorf("%d workers: another namespace has no place", workers)
		}
		if fill(classRenewal, "fourth"); len(busy) > workers {
			t.Errorf("%d workers: %d orders", workers, len(busy))
		}
	}
}

// TestAutocertTakesTurns: its one order at a time goes to hosts that have a
// certificate, then to new hosts of all namespaces, and to failed ones last.
func TestAutocertTakesTurns(t *testing.T) {
	hosts := []Host{{"a1.test", "evil", "x"}, {"a2.test", "evil", "x"}, {"a3.test", "evil", "x"}, {"f.test", "evil", "y"}, {"h.test", "evil", "y"}, {"w.test", "good", "w"}}
	a := &Autocert{
		options: Options{Hosts: func() []Host { return hosts }, Wants: func(string) bool { return true }, Certificates: tls.NewStore()},
		certs:   map[string]*tls.Certificate{"h.test": {}}, failed: map[string]*Failure{"f.test": {}, "a3.test": {Next: time.Now().Add(time.Hour)}},
	}
	turns, asked := &turns{of: make(map[string]uint64)}, make(map[string]bool)
	var got []string
	for next := a.next(turns, asked); next != nil; next = a.next(turns, asked) {
		asked[next.Name] = true
		turns.took(next.Host)
		if got = append(got, next.Name); len(got) == 2 {
			hosts = append(hosts, Host{"z.test", "third", "z"}) // added meanwhile
		}
	}
	if s, want := strings.Join(got, " "), "h.test w.test z.test a1.test a2.test f.test"; s != want {
		t.Errorf("the order is\n%s, want\n%s", s, want)
	}
}
