package upstream

// shares divides one limited resource by namespace, and within that by party: a route
// or a job. Nothing lies idle: a single party may use all of it. But when it is full, a
// party that has less than its share takes from those that have more. Of n namespaces
// that use something, each has an n-th part as its share, and each of its parties an
// equal part of that. So a party can always get its share, however much the others
// want. Not safe for concurrent use.
type shares[P comparable] struct {
	held       int64
	namespaces map[string]*portion[P]
}

// portion is what the parties of one namespace hold.
type portion[P comparable] struct {
	held    int64
	parties map[P]int64 // parties that hold something
}

// add adds n to a party; a negative n is given back.
func (s *shares[P]) add(namespace string, party P, n int64) {
	p := s.namespaces[namespace]
	if p == nil {
		p = &portion[P]{parties: make(map[P]int64)}
		if s.namespaces == nil {
			s.namespaces = make(map[string]*portion[P])
		}
		s.namespaces[namespace] = p
	}
	s.held += n
	p.held += n
	if p.parties[party] += n; p.parties[party] == 0 {
		delete(p.parties, party)
	}
	if len(p.parties) == 0 {
		delete(s.namespaces, namespace)
	}
}

// overShare returns a function that finds, each time it is called, the next party that
// must give something back so that this party can have n more; nil when n is more than
// this party's share.
func (s *shares[P]) overShare(namespace string, party P, n, limit int64) func() (P, bool) {
	namespaces, held := int64(len(s.namespaces)), int64(0)
	own := s.namespaces[namespace]
	if own != nil {
		held = own.held
	} else {
		namespaces++
	}
	share := limit / namespaces
	switch {
	case held+n <= share:
		return s.largest
	case own == nil:
		return nil
	}
	parties := int64(len(own.parties))
	if own.parties[party] == 0 {
		parties++
	}
	// What the namespace holds beyond its share is divided among all of its parties.
	if own.parties[party]+n <= max(share, held)/parties {
		return own.largest
	}
	return nil
}

// largest returns the largest party of the largest namespace.
func (s *shares[P]) largest() (party P, ok bool) {
	var most *portion[P]
	for _, p := range s.namespaces {
		if most == nil || p.held > most.held {
			most = p
		}
	}
	if most == nil {
		return party, false
	}
	return most.largest()
}

// largest returns the party that holds most.
func (p *portion[P]) largest() (most P, ok bool) {
	for party, held := range p.parties {
		if !ok || held > p.parties[most] {
			most, ok = party, true
		}
	}
	return most, ok
}
