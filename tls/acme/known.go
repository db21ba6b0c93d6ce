package acme

import "time"

// at returns the entry of a path; nil for none.
func (m *mirror) at(path string) *entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.entries[path]
}

// failureOf returns the last failure of a host; nil for none.
func (m *mirror) failureOf(host string) *Failure {
	if e := m.at(failurePath(host)); e != nil {
		return e.failure
	}
	return nil
}

// failureOf returns the last failure of a host, whether or not it could be stored; nil for
// none.
func (i *Issuer) failureOf(host string) *Failure {
	stored := i.mirror.failureOf(host)
	i.mu.Lock()
	defer i.mu.Unlock()
	if own := i.unstored[host]; own != nil && (stored == nil || stored.ahead(time.Now()) || own.Last.After(stored.Last)) {
		return own
	}
	return stored
}

// noteUnstored remembers a failure that could not be stored; nil forgets it.
func (i *Issuer) noteUnstored(host string, f *Failure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if f == nil {
		delete(i.unstored, host)
		return
	}
	i.unstored[host] = f
}

// hosts returns the hosts that have a certificate in the store.
func (m *mirror) hosts() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	paths := make(map[string][]string)
	for path, e := range m.entries {
		if e.cert != nil {
			paths[e.host] = append(paths[e.host], path)
		}
	}
	return paths
}

// failures returns the last failures of all hosts.
func (m *mirror) failures() (all []*Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.entries {
		if e.failure != nil {
			all = append(all, e.failure)
		}
	}
	return all
}

// holders counts the hosts with a certificate in the store by namespace, and all of
// them. Of has the namespaces of hosts whose records have none.
func (m *mirror) holders(of map[string]string) (counts map[string]int, total int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts = make(map[string]int)
	seen := make(map[string]bool)
	for _, e := range m.entries {
		if e.cert == nil || seen[e.host] {
			continue
		}
		seen[e.host] = true
		namespace := e.namespace
		if namespace == "" {
			namespace = of[e.host]
		}
		counts[namespace]++
	}
	return counts, len(seen)
}
