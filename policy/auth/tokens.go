package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"serai/policy/auth/keys"
	"serai/wire"
)

// Tokens is what the jwt auths of a process share, and what outlives a config file: the
// tokens that were right, what became of all, and the fetching of keys.
//
// A token that was right is not verified again until it expires, its auth is made anew,
// or the keys are others. What is kept of it is a keyed hash, and what the instance is
// told.
type Tokens struct {
	// Followed are the remotes whose keys are fetched.
	Followed keys.Followed

	limits TokenLimits
	key    []byte
	macs   sync.Pool // of *tokenMac
	serial atomic.Uint64
	limit  atomic.Int64 // bytes of each shard
	shards [16]tokenShard
	// displaced counts tokens that made room for others before they expired.
	displaced atomic.Uint64

	mu     sync.Mutex
	counts map[string]*tokenCounts // by the name of the auth
}

// tokenShard has the tokens whose digests begin alike: requests on many cores would wait
// for one lock.
type tokenShard struct {
	mu    sync.Mutex
	known map[digest]*verified
	bytes int64
}

// verified is a token that was right.
type verified struct {
	by     *JWT
	set    *keys.Set // that it was signed with
	until  time.Time
	fields []wire.Field // for the instance
	size   int64
}

// What a verified token takes, in bytes, beside its fields' values: never less than it
// is seen to take (TestTokenMemory).
const (
	verifiedBytes = 320
	fieldBytes    = 64
)

// tokenMac makes digests of tokens.
type tokenMac struct {
	hash.Hash
	sum []byte
}

// TokenLimits bound what tokens take beside the memory for those that are kept. Zero values
// mean the defaults named.
type TokenLimits struct {
	// Waiting requests of one auth wait for keys, 256; a quarter of them may be one client's.
	Waiting int
	// Forwarded are the bytes of all claims of a token that an instance is told, 8192; one
	// claim has half of them.
	Forwarded int
}

func (l *TokenLimits) setDefaults() {
	setDefault(&l.Waiting, 256)
	setDefault(&l.Forwarded, 8<<10)
}

// SetLimits replaces the default limits. It must be called before an auth is made.
func (t *Tokens) SetLimits(l TokenLimits) {
	l.setDefaults()
	t.limits = l
}

// NewTokens makes a Tokens with the default limits, that keeps no token until SetLimit.
func NewTokens() *Tokens {
	t := &Tokens{key: make([]byte, sha256.Size), counts: make(map[string]*tokenCounts)}
	rand.Read(t.key) // it never fails
	t.limits.setDefaults()
	t.macs.New = func() any { return &tokenMac{Hash: hmac.New(sha256.New, t.key)} }
	return t
}

// SetLimit bounds the memory that verified tokens take, in bytes.
func (t *Tokens) SetLimit(bytes int64) { t.limit.Store(bytes / int64(len(t.shards))) }

// digest stands for a token that an auth is asked about.
func (t *Tokens) digest(serial uint64, token []byte) (d digest) {
	m := t.macs.Get().(*tokenMac)
	defer t.macs.Put(m)
	m.Reset()
	m.sum = binary.LittleEndian.AppendUint64(m.sum[:0], serial)
	m.Write(m.sum)
	m.Write(token)
	m.sum = m.Sum(m.sum[:0])
	copy(d[:], m.sum)
	return d
}

func (t *Tokens) shard(d digest) *tokenShard { return &t.shards[int(d[0])%len(t.shards)] }

// find returns what is known of a token; nil when it must be verified.
func (t *Tokens) find(d digest, set *keys.Set, now time.Time) *verified {
	s := t.shard(d)
	s.mu.Lock()
	v := s.known[d]
	s.mu.Unlock()
	if v == nil || v.set != set || !now.Before(v.until) {
		return nil
	}
	return v
}

// keep notes a token that was right. Where there is no room, others that the map happens
// to begin with make some, rather those whose time is over.
func (t *Tokens) keep(d digest, v *verified, now time.Time) {
	v.size = verifiedBytes
	for _, f := range v.fields {
		v.size += fieldBytes + int64(len(f.Value))
	}
	limit := t.limit.Load()
	s := t.shard(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.size > limit/4 {
		return
	}
	if s.known == nil {
		s.known = make(map[digest]*verified)
	}
	s.drop(d)
	looked := 0
	for other, o := range s.known {
		full := s.bytes+v.size > limit
		if looked++; looked > 8 && !full {
			break
		}
		if over := !now.Before(o.until); over || full && looked > 4 {
			s.drop(other)
			if !over {
				t.displaced.Add(1)
			}
		}
	}
	for other := range s.known {
		if s.bytes+v.size <= limit {
			break
		}
		s.drop(other)
		t.displaced.Add(1)
	}
	s.known[d] = v
	s.bytes += v.size
}

// drop forgets a token. S.mu is held.
func (s *tokenShard) drop(d digest) {
	if v := s.known[d]; v != nil {
		delete(s.known, d)
		s.bytes -= v.size
	}
}

// forget drops the tokens of an auth that were signed with other keys than those; with
// nil all of them.
func (t *Tokens) forget(by *JWT, but *keys.Set) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for d, v := range s.known {
			if v.by == by && (but == nil || v.set != but) {
				s.drop(d)
			}
		}
		s.mu.Unlock()
	}
}

// TokensStatus is the state of a Tokens.
type TokensStatus struct {
	// Known is how many tokens are kept, in Bytes of at most Limit.
	Known        int
	Bytes, Limit int64
	Displaced    uint64
	// Outcomes counts the tokens by auth and outcome.
	Outcomes map[string]map[string]uint64
}

// Status returns the state.
func (t *Tokens) Status() TokensStatus {
	status := TokensStatus{Limit: t.limit.Load() * int64(len(t.shards)), Displaced: t.displaced.Load(), Outcomes: make(map[string]map[string]uint64)}
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		status.Known += len(s.known)
		status.Bytes += s.bytes
		s.mu.Unlock()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, c := range t.counts {
		status.Outcomes[name] = c.byOutcome()
	}
	return status
}

// countsOf returns the counters of an auth, which it keeps when it is made anew.
func (t *Tokens) countsOf(name string) *tokenCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts[name]
	if c == nil {
		c = &tokenCounts{}
		t.counts[name] = c
	}
	return c
}

// Retain drops the counters of auths with other names.
func (t *Tokens) Retain(names map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name := range t.counts {
		if !names[name] {
			delete(t.counts, name)
		}
	}
}
