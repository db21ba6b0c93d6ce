package acme

import (
	"context"
	"maps"
	"slices"
	"time"

	"serai/internal/sleep"
)

// plan is the result of the leader's last walk. Immutable.
type plan struct {
	budget *Budget
	waits  map[string]*held // by host
}

// countCertificates counts for the budget what each namespace has: certificates in the
// store, whether or not a route still wants them, and certificates in order.
func (l *leader) countCertificates(hosts []Host) {
	namespaces, of := make(map[string]bool), make(map[string]string)
	for _, h := range hosts {
		namespaces[h.Namespace], of[h.Name] = true, h.Namespace
	}
	holds, total := l.mirror.holders(of)
	l.mu.Lock()
	for _, t := range l.busy {
		if !t.replaces {
			holds[t.Namespace]++
			total++
		}
	}
	l.mu.Unlock()
	l.budget.know(holds, total, len(namespaces) > 1)
}

// showPlan publishes the result of a walk.
func (l *leader) showPlan(hosts []Host, waits map[string]*held) {
	b := l.budget.snapshot(time.Now())
	b.Held = make(map[string]int)
	byNamespace := make(map[string]*NamespaceBudget)
	for _, h := range hosts {
		n := byNamespace[h.Namespace]
		if n == nil {
			n = l.budget.namespace(h.Namespace, time.Now())
			byNamespace[h.Namespace] = n
		}
		if w := waits[h.Name]; w != nil {
			n.Held++
			b.Held[string(w.cause)]++
		}
	}
	l.mu.Lock()
	for _, t := range l.busy {
		if n := byNamespace[t.Namespace]; n != nil {
			n.UnderWay++
		}
	}
	l.mu.Unlock()
	for _, namespace := range slices.Sorted(maps.Keys(byNamespace)) {
		if len(b.Namespaces) < shownAtMost {
			b.Namespaces = append(b.Namespaces, *byNamespace[namespace])
		}
	}
	l.plan.Store(&plan{budget: b, waits: waits})
}

// saveBudget is the time between two writes of the budget: when a leader is killed,
// what it has used since the last write is lost.
const saveBudget = 2 * time.Second

// loadBudget adds what earlier leaders have used. A store that cannot be read does not
// stop orders for good.
func (l *leader) loadBudget(ctx context.Context) {
	var err error
	for range 3 {
		if err = l.budget.load(ctx, l.options.Store); err == nil || ctx.Err() != nil {
			return
		}
		sleep.For(ctx, time.Second)
	}
	l.options.Logger.Warn("cannot read what earlier leaders have ordered: the CA's limits may be exceeded", "error", err)
}

// keepBudget writes the budget until ctx ends, and then once more.
func (l *leader) keepBudget(ctx context.Context) {
	var complaint string
	for ended := false; !ended; {
		sleep.For(ctx, saveBudget)
		ended = ctx.Err() != nil
		writing, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveBudget)
		err := l.budget.save(writing, l.options.Store)
		cancel()
		if err != nil && err.Error() != complaint {
			complaint = err.Error()
			l.options.Logger.Warn("cannot store what was ordered for the next leader", "error", err)
		}
	}
}
