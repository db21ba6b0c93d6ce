package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/netip"
	"sync"
	"time"

	"serai/internal/quota"
	"serai/policy"
)

// digest stands for a user's line of the file and a password, without telling them: it is
// made with a key of the process. When the line changes, it is another one.
type digest [sha256.Size]byte

// Passwords checks the passwords of all policies of a process. One that was right is
// remembered for a while, so that its hash is not computed again for each request: not when
// a file is read again either.
type Passwords struct {
	limits PasswordLimits
	counts passwordCounts
	gate   *gate
	macs   sync.Pool // of *mac

	mu       sync.Mutex
	verified map[digest]time.Time // until when
	checks   map[digest]*check    // under way
}

// mac makes digests.
type mac struct {
	hash.Hash
	sum     []byte
	decoded []byte // what a client has sent
}

// check is a check under way, which all who ask for the same wait for. It is done for a
// client, whose limits it counts for.
type check struct {
	client netip.Prefix
	done   chan struct{}
	ok     bool
	err    error
}

// NewPasswords makes a Passwords that remembers none, with the default limits.
func NewPasswords() *Passwords {
	key := make([]byte, sha256.Size)
	rand.Read(key) // it never fails
	p := &Passwords{verified: make(map[digest]time.Time), checks: make(map[digest]*check)}
	p.SetLimits(PasswordLimits{})
	p.macs.New = func() any {
		return &mac{Hash: hmac.New(sha256.New, key), decoded: make([]byte, p.limits.Credentials+3)}
	}
	return p
}

// of makes the digest of a name and a password. U is nil when nobody has the name.
func (m *mac) of(u *user, name, password []byte) (d digest) {
	m.Reset()
	m.sum = append(m.sum[:0], 0) // which is in no line
	if u != nil {
		m.Write(u.line)
	} else {
		m.Write(m.sum)
		m.Write(name)
	}
	m.Write(m.sum)
	m.Write(password)
	m.sum = m.Sum(m.sum[:0])
	copy(d[:], m.sum)
	return d
}

// known reports whether the password was right a moment ago.
func (p *Passwords) known(d digest, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.verified[d]
	return ok && now.Before(until)
}

// question is a password that is to be checked. Whose it is decides whose hash is
// computed; with Nobody, the answer is no whatever that says.
type question struct {
	digest   digest
	user     *user
	nobody   bool
	password string
	client   netip.Addr
}

// standIn returns the user whose hash is computed for a name that nobody has, so that it
// takes as long as for a user, and as long each time.
func (m *mac) standIn(users *Users, name []byte) *user {
	d := m.of(nil, name, nil)
	return users.all[binary.BigEndian.Uint64(d[:8])%uint64(len(users.all))]
}

// waitFor is verify for a request, which waits meanwhile.
func (p *Passwords) waitFor(r policy.Request, q *question) (ok bool, err error) {
	r.Wait(func(gone <-chan struct{}) { ok, err = p.verify(q, gone) })
	return ok, err
}

// verify computes the hash of the password, or waits for somebody who does so already. If
// that one is refused, it is for its own client: another one then asks by itself, unless it
// has waited as long as anybody may.
func (p *Passwords) verify(q *question, gone <-chan struct{}) (bool, error) {
	client, began := quota.ClientOf(q.client), time.Now()
	for {
		p.mu.Lock()
		if time.Now().Before(p.verified[q.digest]) { // by a check that has ended just now
			p.mu.Unlock()
			return true, nil
		}
		c := p.checks[q.digest]
		if c == nil {
			c = &check{client: client, done: make(chan struct{})}
			p.checks[q.digest] = c
			p.mu.Unlock()
			p.run(c, q, gone)
			return c.ok, c.err
		}
		p.mu.Unlock()
		select {
		case <-c.done:
		case <-gone:
			return false, errGone
		}
		switch {
		case c.err == nil:
			return c.ok, nil
		case c.err == errGone: // who left had nothing to say to the others
		case c.client == client, time.Since(began) >= p.limits.Wait:
			return false, c.err
		}
	}
}

// run does a check, and tells all who wait for it.
func (p *Passwords) run(c *check, q *question, gone <-chan struct{}) {
	defer func() {
		p.mu.Lock()
		delete(p.checks, q.digest)
		if c.ok {
			p.remember(q.digest, time.Now())
		}
		p.mu.Unlock()
		close(c.done)
	}()
	if c.err = p.gate.enter(c.client, gone); c.err != nil {
		return
	}
	defer p.gate.leave()
	if c.ok = q.user.password.MatchesPassword(q.password) && !q.nobody; c.ok {
		p.counts.right.Add(1)
	} else {
		p.counts.wrong.Add(1)
	}
}

// remember notes a password that was right. When there are too many, one of a few that
// the map happens to begin with makes room, rather one whose time is over. p.mu is held.
func (p *Passwords) remember(d digest, now time.Time) {
	if p.limits.Known < 0 || p.limits.KnownFor < 0 {
		return
	}
	looked := 0
	for other, until := range p.verified {
		if looked++; looked > 16 {
			break
		}
		if !now.Before(until) {
			delete(p.verified, other)
		}
	}
	for other := range p.verified {
		if len(p.verified) < p.limits.Known {
			break
		}
		delete(p.verified, other)
		p.counts.displaced.Add(1)
	}
	p.verified[d] = now.Add(p.limits.KnownFor)
}
