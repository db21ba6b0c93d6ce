package auth

import (
	"maps"
	"sync"
	"sync/atomic"
)

// questionResult is what becomes of a request that a service is asked about.
type questionResult uint8

const (
	questionPassed questionResult = iota
	questionDenied
	questionUnreachable
	questionLate
	questionUnusable // an answer that is none
	questionTooLong  // an answer that is longer than it may be
	questionBusy
	questionClientBusy
	questionLooped
	questionLeft
	numQuestionResults
)

// questionWords are their labels in the metrics.
var questionWords = [numQuestionResults]string{
	"passed", "denied", "unreachable", "late", "unusable", "too-long", "busy", "client-busy", "loop", "client-gone",
}

type questionCounts [numQuestionResults]atomic.Uint64

// Questions counts what the forward auths of a process have asked, also when one is made anew.
// The zero value has counted nothing.
type Questions struct {
	mu     sync.Mutex
	counts map[string]*questionCounts // by the name of the auth
}

// countsOf returns the counters of an auth; of nil, new ones.
func (q *Questions) countsOf(name string) *questionCounts {
	if q == nil {
		return &questionCounts{}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts[name]
	if c == nil {
		if q.counts == nil {
			q.counts = make(map[string]*questionCounts)
		}
		c = &questionCounts{}
		q.counts[name] = c
	}
	return c
}

// Retain drops the counters of auths with other names.
func (q *Questions) Retain(names map[string]bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	maps.DeleteFunc(q.counts, func(name string, _ *questionCounts) bool { return !names[name] })
}

// Status counts the questions by auth and result.
func (q *Questions) Status() map[string]map[string]uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make(map[string]map[string]uint64, len(q.counts))
	for name, c := range q.counts {
		all[name] = make(map[string]uint64, numQuestionResults)
		for i := range c {
			all[name][questionWords[i]] = c[i].Load()
		}
	}
	return all
}
