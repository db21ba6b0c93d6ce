package proxy

import "serai/internal/memory"

// entryBytes is the memory of an entry without its page.
const entryBytes = 1 << 10

// release ends the use of a page.
func (s *pages) release(c *page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c)
}

// releaseLocked is release with s.mu held. The page may be nil.
func (s *pages) releaseLocked(c *page) {
	if c == nil {
		return
	}
	if c.users--; c.users == 0 {
		s.give(c.namespace, int64(len(c.body)))
	}
}

// take takes memory, and reports whether there was enough. Pages that are not being
// sent are dropped to make room: those of the same namespace if it has its half, else
// those of the namespace that has the most. s.mu is held.
func (s *pages) take(namespace string, n int64) bool {
	for {
		from := ""
		switch own := s.used[namespace]; {
		case own+n > s.options.MaxMemory/2:
			from = namespace
		case s.bytes+n > s.options.MaxMemory:
			for other, bytes := range s.used {
				if from == "" || bytes > s.used[from] {
					from = other
				}
			}
		case !s.client.Take(memory.Buffers, n):
			return false
		default:
			s.used[namespace] += n
			s.bytes += n
			return true
		}
		if !s.evict(from) {
			return false
		}
	}
}

// give gives memory back. s.mu is held.
func (s *pages) give(namespace string, n int64) {
	s.client.Give(memory.Buffers, n)
	s.bytes -= n
	if s.used[namespace] -= n; s.used[namespace] == 0 {
		delete(s.used, namespace)
	}
}

// evict drops the page of a namespace that was not used for the longest time, and
// reports whether there was one that nobody needs now. s.mu is held.
func (s *pages) evict(namespace string) bool {
	var oldest *pageEntry
	for _, e := range s.known {
		if e.key.namespace != namespace || e.ended != nil || e.content != nil && e.content.users > 1 {
			continue
		}
		if oldest == nil || e.used.Before(oldest.used) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	delete(s.known, oldest.key)
	s.releaseLocked(oldest.content)
	oldest.content = nil // a request that has just waited for it may still read this
	s.give(namespace, entryBytes)
	return true
}
