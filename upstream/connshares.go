package upstream

import (
	"math"
	"sync"
	"sync/atomic"

	"serai/internal/quota"
)

// connShares divides the connections that requests may use among namespaces, and among
// their jobs. A service that answers slowly holds a connection for each request over
// HTTP/1, and a client may have hundreds of such requests over a few connections of
// HTTP/2: without shares, these could take all connections, and no other service would be
// served.
//
// A job beyond its share stops an eighth before the limit, and a namespace beyond its
// share a sixteenth before it: the eighth is for jobs with little, and the last sixteenth
// for those of namespaces with little. What is in use is not taken away from anybody. A
// job that is the only one, or a namespace that is, may have everything.
type connShares struct {
	size             int64
	jobs, namespaces *quota.Fair
	jobLimit         atomic.Int64 // of those beyond their share
	namespaceLimit   atomic.Int64

	mu     sync.Mutex
	byJob  map[job]*connJob
	byName map[string]*connNamespace
	ended  map[*connJob]struct{} // those of which no endpoint is left
}

// connJob is what the instances of one job have of the connections.
type connJob struct {
	quota.Holder
	job       job
	namespace *connNamespace
	refs      int // endpoints; guarded by connShares.mu
}

// connNamespace is what all jobs of one namespace have.
type connNamespace struct {
	quota.Holder
	jobs int // guarded by connShares.mu
}

// newConnShares divides so many connections.
func newConnShares(size int64) *connShares {
	s := &connShares{
		size: size, jobs: quota.NewFair(size), namespaces: quota.NewFair(size),
		byJob: make(map[job]*connJob), byName: make(map[string]*connNamespace), ended: make(map[*connJob]struct{}),
	}
	s.setLimits()
	return s
}

// join returns what the job of a new endpoint has. Each join needs one leave. Nobody has
// a share of a nil connShares.
func (s *connShares) join(of job) *connJob {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.byJob[of]
	if j == nil {
		n := s.byName[of.namespace]
		if n == nil {
			n = &connNamespace{}
			n.Join(s.namespaces)
			s.byName[of.namespace] = n
		}
		n.jobs++
		j = &connJob{job: of, namespace: n}
		j.Join(s.jobs)
		s.byJob[of] = j
		s.setLimits()
	}
	j.refs++
	delete(s.ended, j)
	return j
}

// leave undoes a join. A job counts until its last connection is closed, too: otherwise it
// could get a new share by registering its instances anew.
func (s *connShares) leave(j *connJob) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.refs--; j.refs == 0 {
		s.ended[j] = struct{}{}
	}
}

// settle is called now and then. It forgets jobs that have gone, and finds the shares anew.
func (s *connShares) settle() {
	if s == nil {
		return
	}
	s.mu.Lock()
	for j := range s.ended {
		if j.Taken() == 0 {
			s.forget(j)
		}
	}
	s.mu.Unlock()
	for _, f := range []*quota.Fair{s.jobs, s.namespaces} {
		if f.Taken() > f.Size()/2 || f.Share() < f.Size()/2 {
			f.Settle()
		}
	}
}

// forget forgets a job that has no endpoint and no connection. s.mu is held.
func (s *connShares) forget(j *connJob) {
	delete(s.ended, j)
	delete(s.byJob, j.job)
	j.Leave()
	if j.namespace.jobs--; j.namespace.jobs == 0 {
		delete(s.byName, j.job.namespace)
		j.namespace.Leave()
	}
	s.setLimits()
}

// setLimits finds where those beyond their share stop. s.mu is held.
func (s *connShares) setLimits() {
	limit := func(holders int, part int64) int64 {
		if holders < 2 {
			return s.size
		}
		return s.size - s.size/part
	}
	s.jobLimit.Store(limit(len(s.byJob), 8))
	s.namespaceLimit.Store(limit(len(s.byName), 16))
}

// take takes a connection for a job; nil stands for probes, which have a limit of their own.
// What was taken must be given back once.
func (s *connShares) take(j *connJob) bool {
	switch {
	case s == nil:
		return true
	case j == nil:
		return s.jobs.Take(1, math.MaxInt64) && s.namespaces.Take(1, math.MaxInt64)
	case !j.Take(1, s.jobLimit.Load()):
		return false
	case !j.namespace.Take(1, s.namespaceLimit.Load()):
		j.Give(1)
		return false
	}
	return true
}

// give gives it back.
func (s *connShares) give(j *connJob) {
	switch {
	case s == nil:
	case j == nil:
		s.namespaces.Give(1)
		s.jobs.Give(1)
	default:
		j.namespace.Give(1)
		j.Give(1)
	}
}
