package discovery

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Merge makes one Source of several. A service that several sources know has the
// instances of all of them; where IDs are equal, the first source's. Its snapshots are
// Partial until each source has sent one.
func Merge(sources ...Source) Source {
	if len(sources) == 1 {
		return sources[0]
	}
	return merge(sources)
}

type merge []Source

// Status returns the statuses of all sources.
func (m merge) Status() (all []Status) {
	for _, source := range m {
		all = append(all, source.Status()...)
	}
	return all
}

func (m merge) Run(ctx context.Context, out chan<- *Snapshot) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type news struct {
		from int
		s    *Snapshot
	}
	all := make(chan news)
	box := newMailbox()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { box.run(ctx, out) })
	for i, source := range m {
		one := make(chan *Snapshot)
		running.Go(func() { source.Run(ctx, one) })
		running.Go(func() {
			for {
				select {
				case s := <-one:
					select {
					case all <- news{i, s}:
					case <-ctx.Done():
						return
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	latest := make([]*Snapshot, len(m))
	joined := make(map[Key]joint)
	for {
		select {
		case n := <-all:
			latest[n.from] = n.s
			s := join(latest, joined)
			s.Changed = n.s.Changed
			box.put(s)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// joint is a service that several sources know, and its parts.
type joint struct {
	parts []*Service
	whole *Service
}

// join merges snapshots. Services of only one source keep their pointers; the others
// keep theirs while their parts do.
func join(latest []*Snapshot, joined map[Key]joint) *Snapshot {
	s := &Snapshot{Services: make(map[Key]*Service)}
	parts := make(map[Key][]*Service)
	for _, part := range latest {
		if part == nil {
			s.Partial = true
			continue
		}
		s.Index = max(s.Index, part.Index)
		s.Origin = max(s.Origin, part.Origin)
		s.Partial = s.Partial || part.Partial
		s.Read = earlier(s.Read, part.Read)
		for key, service := range part.Services {
			if first := s.Services[key]; first != nil {
				if parts[key] == nil {
					parts[key] = []*Service{first}
				}
				parts[key] = append(parts[key], service)
				continue
			}
			s.Services[key] = service
		}
	}
	for key, list := range parts {
		j := joined[key]
		if !equal(j.parts, list) {
			j = joint{list, together(key, list)}
			joined[key] = j
		}
		s.Services[key] = j.whole
	}
	maps.DeleteFunc(joined, func(key Key, _ joint) bool { return parts[key] == nil })
	return s
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) && !b.IsZero() {
		return b
	}
	return a
}

func equal(a, b []*Service) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func together(key Key, parts []*Service) *Service {
	byID := make(map[string]*Instance)
	for _, p := range parts {
		for _, i := range p.Instances {
			if byID[i.ID] == nil {
				byID[i.ID] = i
			}
		}
	}
	whole := newService(key, maps.Values(byID))
	for _, p := range parts {
		if whole.Refused == nil {
			whole.Refused = p.Refused
		}
	}
	return whole
}
