package upstream

import (
	"math"
	"net/netip"
	"sync"
	"sync/atomic"

	"serai/internal/quota"
)

// connShares divides the connections that requests may use among clients, among jobs, and
// among namespaces. A service that answers slowly, and a client that sends a body slowly,
// hold a connection for each request over HTTP/1, and a client may have hundreds of such
// requests over a few connections of HTTP/2: without shares, these could take all
// connections, and no other service, or nobody else, would be served.
//
// Each has its share, as in quota.Fair, and who is beyond it stops before the limit: see
// limit. What is in use is not taken away from anybody.
type connShares struct {
	size                      int64
	clients, jobs, namespaces *quota.Fair
	oneJob, oneNamespace      atomic.Bool // there is no other

	mu       sync.Mutex
	byClient map[netip.Prefix]*connClient
	byJob    map[job]*connJob
	byName   map[string]*connNamespace
	ended    map[*connJob]struct{} // those of which no endpoint is left
}

// connClient is what a client has of the connections, counted for who made them. They are
// not counted anew when others use them later: that would cost each request something, and
// in HTTP/1 a connection ends within a minute when it is not used.
type connClient struct {
	quota.Holder
	key  netip.Prefix
	refs int // connections; guarded by connShares.mu
}

// connJob is what the instances of one job have.
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

// connHolder is for whom a connection counts. Probes have a limit of their own, and count
// for nobody; a connection that several clients share, as in HTTP/2, or serai's own, counts
// for no client.
type connHolder struct {
	job    *connJob
	client *connClient
}

// newConnShares divides so many connections.
func newConnShares(size int64) *connShares {
	s := &connShares{
		size: size, clients: quota.NewFair(size), jobs: quota.NewFair(size), namespaces: quota.NewFair(size),
		byClient: make(map[netip.Prefix]*connClient), byJob: make(map[job]*connJob), byName: make(map[string]*connNamespace), ended: make(map[*connJob]struct{}),
	}
	s.noteAlone()
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
		s.noteAlone()
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
	for _, f := range []*quota.Fair{s.clients, s.jobs, s.namespaces} {
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
	s.noteAlone()
}

// noteAlone notes whether there is only one job, or namespace. s.mu is held.
func (s *connShares) noteAlone() {
	s.oneJob.Store(len(s.byJob) < 2)
	s.oneNamespace.Store(len(s.byName) < 2)
}

// count counts a connection to an instance of a job for a client, before it is known whether
// there is one, so that two that come at once see each other. It must be given back once. A
// nil job stands for a probe, a client without an address for none.
func (s *connShares) count(j *connJob, client netip.Addr) connHolder {
	if s == nil {
		return connHolder{}
	}
	const any = math.MaxInt64
	h := connHolder{job: j, client: s.countClient(client)}
	if j != nil {
		j.Take(1, any)
		j.namespace.Take(1, any)
	} else {
		s.jobs.Take(1, any)
		s.namespaces.Take(1, any)
	}
	return h
}

// limit is how many connections there may be with one that counts for h. Beyond these
// parts of all,
//
//   - 13/16, there are none for a client and a job that are both beyond their share: they
//     stop first;
//   - 14/16, none for a client beyond its share, though its job is within: so a client that
//     stands for many, as a load balancer may, is served by other jobs when one hangs;
//   - 15/16, none for a job beyond its share, though its client is within: so a client that
//     holds connections to all jobs leaves some of each to others;
//   - 31/32, none for a namespace beyond its share.
//
// Who is within its share goes on as long as there is still as much left as it has: so
// something is always left for one who has nothing. A job or a namespace that is the only
// one may have everything. A client may not: others may come at any time.
//
// Beyond says that whoever wants the connection is beyond its share.
func (s *connShares) limit(h connHolder) (most int64, beyond bool) {
	left := int64(0) // what must be left
	clientWithin := h.client == nil || h.client.Within()
	if h.client != nil && clientWithin {
		left = h.client.Taken()
	}
	jobWithin := s.oneJob.Load() || h.job.Within()
	if jobWithin && !s.oneJob.Load() {
		left = max(left, h.job.Taken())
	}
	const parts = 32
	part := int64(parts)
	switch {
	case !clientWithin && !jobWithin:
		return s.size * 26 / parts, true
	case !clientWithin:
		part = 28
	case !jobWithin:
		part = 30
	case !s.oneNamespace.Load() && !h.job.namespace.Within():
		part = 31
	}
	return max(s.size*26/parts, min(s.size*part/parts, s.size-left)), !clientWithin || !jobWithin && h.client == nil
}

// give gives it back.
func (s *connShares) give(h connHolder) {
	if s == nil {
		return
	}
	if h.job != nil {
		h.job.namespace.Give(1)
		h.job.Give(1)
	} else {
		s.namespaces.Give(1)
		s.jobs.Give(1)
	}
	s.giveClient(h.client)
}

func (s *connShares) countClient(a netip.Addr) *connClient {
	if !a.IsValid() {
		s.clients.Take(1, math.MaxInt64)
		return nil
	}
	key := quota.ClientOf(a)
	s.mu.Lock()
	c := s.byClient[key]
	if c == nil {
		c = &connClient{key: key}
		c.Join(s.clients)
		s.byClient[key] = c
	}
	c.refs++
	s.mu.Unlock()
	c.Take(1, math.MaxInt64)
	return c
}

// giveClient forgets a client without a connection.
func (s *connShares) giveClient(c *connClient) {
	if c == nil {
		s.clients.Give(1)
		return
	}
	c.Give(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.refs--; c.refs == 0 {
		delete(s.byClient, c.key)
		c.Leave()
	}
}
