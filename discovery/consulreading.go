package discovery

import (
	"context"
	"errors"
	"sync"

	"serai/consul"
)

// consulReading is one reading of what Consul lists of a service.
type consulReading struct {
	*consulRun
	ctx  context.Context // until it has been applied
	name string
	// denies says that Consul denies by default: see lookUp.
	denies bool
	// holds says that nothing is removed for now: see hold.
	holds bool
	// known is what is known of the service, nil for nothing.
	known *Service

	mu    sync.Mutex
	large bool // this is the one that may read more than usualAnswer
}

// consulList is a method of a Client that lists instances.
type consulList func(ctx context.Context, name string, q consul.Query) ([]consul.Entry, consul.Meta, error)

// now reads what is listed now.
func (r *consulReading) now(q consul.Query) (l consulListing, err error) {
	if l.entries, l.meta, err = r.lookUp(r.ctx, r.options.Client.Service, r.name, q); err != nil {
		return l, err
	}
	if err = r.readSidecars(&l, q); err == nil && q.Consistent {
		err = r.readOthers(&l, q)
	}
	if err == nil && q.Consistent {
		err = r.readMoved(&l, q)
	}
	return l, err
}

// maxOthers bounds what readOthers asks for.
const maxOthers = 16

// readOthers looks up how new the services are as which those sidecars were registered that are
// not listed any more, where none of that service is.
func (r *consulReading) readOthers(l *consulListing, q consul.Query) error {
	if r.known == nil || !l.meshed {
		return nil
	}
	there := make(map[string]bool)
	for i := range l.sidecars {
		there[l.sidecars[i].Service.Service] = true
	}
	l.others = make(map[string]uint64)
	for _, i := range r.known.Instances {
		if i.Sidecar == nil || i.Sidecar.Name == "" || there[i.Sidecar.Name] || len(l.others) == maxOthers {
			continue
		}
		there[i.Sidecar.Name] = true
		_, meta, err := r.lookUp(r.ctx, r.options.Client.Service, i.Sidecar.Name, q)
		if err != nil {
			return err
		}
		l.others[i.Sidecar.Name] = meta.Index
		l.ofSidecars.Filtered = l.ofSidecars.Filtered || meta.Filtered
	}
	return nil
}

// readSidecars reads the sidecars of a service, if one of its instances wants that.
func (r *consulReading) readSidecars(l *consulListing, q consul.Query) (err error) {
	if !r.meshed(l.entries) {
		return nil
	}
	l.meshed = true
	l.sidecars, l.ofSidecars, err = r.lookUp(r.ctx, r.options.Client.Sidecars, r.name, q)
	return err
}

// next waits until one of the lists changes. Of the last ones it needs no more than what they
// say about themselves: what is not awaited is read again.
func (r *consulReading) next(last *consulListing, q consul.Query) (next consulListing, err error) {
	now := consul.Query{Stale: true}
	if !last.meshed {
		q.Index = last.meta.Index
		if next.entries, next.meta, err = r.lookUp(r.ctx, r.options.Client.Service, r.name, q); err != nil {
			return next, err
		}
		return next, r.readSidecars(&next, now)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	type answer struct {
		sidecars bool
		entries  []consul.Entry
		meta     consul.Meta
		err      error
	}
	answers := make(chan answer, 2)
	ask := func(sidecars bool, list consulList, index uint64) {
		r.running.Go(func() {
			q := q
			q.Index = index
			entries, meta, err := r.lookUp(ctx, list, r.name, q)
			answers <- answer{sidecars, entries, meta, err}
		})
	}
	ask(false, r.options.Client.Service, last.meta.Index)
	ask(true, r.options.Client.Sidecars, last.ofSidecars.Index)
	a := <-answers
	cancel()
	switch {
	case a.err != nil:
		return next, a.err
	case !a.sidecars:
		next.entries, next.meta = a.entries, a.meta
		return next, r.readSidecars(&next, now)
	}
	next.entries, next.meta, err = r.lookUp(r.ctx, r.options.Client.Service, r.name, now)
	if err == nil && r.meshed(next.entries) {
		next.meshed, next.sidecars, next.ofSidecars = true, a.entries, a.meta
	}
	return next, err
}

// lookUp asks for a list. Agents never say of an answer to a request without a token that it
// lacks something. Where anonymous requests have lost their rights, Consul's own service is gone
// for them, too: so what the leader lists for them counts only if they may see that one before
// and after it. Denies says that this is known to be necessary.
func (r *consulReading) lookUp(ctx context.Context, list consulList, name string, q consul.Query) ([]consul.Entry, consul.Meta, error) {
	client, hidden := r.options.Client, false
	check := func() error {
		servers, _, err := client.Service(ctx, consul.OwnService, consul.Query{Most: usualAnswer})
		hidden = hidden || len(servers) == 0
		return err
	}
	if q.Stale || !client.Anonymous() || !r.denies {
		entries, meta, err := r.list(ctx, list, name, q)
		meta.Filtered = meta.Filtered || meta.Denies && client.Anonymous()
		return entries, meta, err
	}
	if err := check(); err != nil {
		return nil, consul.Meta{}, err
	}
	entries, meta, err := r.list(ctx, list, name, q)
	if err == nil {
		err = check()
	}
	meta.Filtered = meta.Filtered || hidden
	return entries, meta, err
}

// list reads a list. One of more than usualAnswer is read only when no other one is: then it is
// read at once, whatever was waited for.
func (r *consulReading) list(ctx context.Context, list consulList, name string, q consul.Query) ([]consul.Entry, consul.Meta, error) {
	q.Most = usualAnswer
	entries, meta, err := list(ctx, name, q)
	if !errors.Is(err, consul.ErrTooLong) {
		return entries, meta, err
	}
	if err := r.readAlone(ctx); err != nil {
		return nil, consul.Meta{}, err
	}
	q.Most, q.Index = 0, 0
	return list(ctx, name, q)
}

// readAlone waits until this is the one that may read more, until it has been applied.
func (r *consulReading) readAlone(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.large {
		return nil
	}
	alone := r.consulRun.large
	select {
	case alone <- struct{}{}:
		r.large = true
		context.AfterFunc(r.ctx, func() { <-alone })
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
