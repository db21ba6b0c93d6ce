package acme

import (
	"cmp"
	"slices"
	"time"
)

// class is the rank of an order: a lower one goes first.
type class int

const (
	classAsked   class = iota // an operator requested it
	classRenewal              // a certificate is due
	classFirst                // a host has none
	classRetry                // the last order of a host failed
	classes
)

// task is an order that may begin.
type task struct {
	Host
	class  class
	reason string
	at     time.Time // when it is or was due
	// replaces says that the host has a certificate, which will be replaced.
	replaces bool
	// named says that the CA is told which certificate it replaces (RFC 9773 section
	// 5): Let's Encrypt counts such orders for no limit.
	named bool
	// cost is the most orders that it makes: one for each kind of validation.
	cost int

	round int // its position among the tasks of its service
}

// charge returns how many of these orders count.
func (t *task) charge(orders int) int {
	if t.named {
		return 0
	}
	return orders
}

// turns remembers when namespaces and services last had their turn.
type turns struct {
	now uint64
	of  map[string]uint64 // by namespace, and by namespace/service
}

// keep forgets namespaces and services that have no hosts any more.
func (t *turns) keep(hosts []Host) {
	of := make(map[string]uint64)
	for _, h := range hosts {
		for _, key := range []string{h.Namespace, h.service()} {
			if at := t.of[key]; at > 0 {
				of[key] = at
			}
		}
	}
	t.of = of
}

func (t *turns) took(h Host) {
	t.now++
	t.of[h.Namespace], t.of[h.service()] = t.now, t.now
}

func (h Host) service() string { return h.Namespace + "/" + h.Service }

// queue has the tasks that may begin in one walk: by class, then by namespace;
// namespaces take turns, and the tasks of one namespace have an order of their own.
type queue struct {
	turns  *turns
	queued [classes]map[string][]*task
}

// newQueue sorts tasks: in one class and namespace the services take turns, each with
// the task that has been due for longest.
func newQueue(t *turns, all []*task) *queue {
	q := &queue{turns: t}
	slices.SortStableFunc(all, func(a, b *task) int { return a.at.Compare(b.at) })
	var rounds [classes]map[string]int // by service: how many of its tasks are queued
	for c := range classes {
		q.queued[c], rounds[c] = make(map[string][]*task), make(map[string]int)
	}
	for _, task := range all {
		task.round = rounds[task.class][task.service()]
		rounds[task.class][task.service()]++
		q.queued[task.class][task.Namespace] = append(q.queued[task.class][task.Namespace], task)
	}
	for c := range classes {
		for _, tasks := range q.queued[c] {
			slices.SortStableFunc(tasks, func(a, b *task) int {
				return cmp.Or(cmp.Compare(a.round, b.round), cmp.Compare(t.of[a.service()], t.of[b.service()]))
			})
		}
	}
	return q
}

// next removes the task whose turn it is, among classes and namespaces with room; nil
// when there is none.
func (q *queue) next(hasRoom func(class, string) bool) *task {
	for c, namespaces := range q.queued {
		best := ""
		for namespace, tasks := range namespaces {
			if len(tasks) == 0 || !hasRoom(class(c), namespace) {
				continue
			}
			a, b := q.turns.of[namespace], q.turns.of[best]
			if best == "" || a < b || a == b && namespace < best {
				best = namespace
			}
		}
		if tasks := namespaces[best]; len(tasks) > 0 {
			namespaces[best] = tasks[1:]
			return tasks[0]
		}
	}
	return nil
}

// drop removes all tasks that are similar to like, because they need what it waits for.
func (q *queue) drop(like *task) []*task {
	tasks := q.queued[like.class][like.Namespace]
	delete(q.queued[like.class], like.Namespace)
	return tasks
}

// room limits the orders in progress, so that orders that hang do not use the places
// that others need.
type room struct {
	all       int // orders at once
	namespace int // of one namespace
	wanting   int // of hosts without a certificate, and retries
	retries   int
}

// newRoom divides places: at most half of them for one namespace, a quarter only for
// renewals, and at most a quarter for retries.
func newRoom(workers int) room {
	quarter := max(workers/4, 1)
	return room{all: workers, namespace: max(workers/2, 1), wanting: max(workers-quarter, 1), retries: quarter}
}

// has reports whether one more order fits beside those in progress.
func (r room) has(busy map[string]*task, c class, namespace string) bool {
	same, wanting, retries := 0, 0, 0
	for _, t := range busy {
		if t.Namespace == namespace {
			same++
		}
		if t.class >= classFirst {
			wanting++
		}
		if t.class == classRetry {
			retries++
		}
	}
	switch {
	case len(busy) >= r.all:
		return false
	case c == classAsked:
		return true
	case same >= r.namespace, c >= classFirst && wanting >= r.wanting, c == classRetry && retries >= r.retries:
		return false
	}
	return true
}
