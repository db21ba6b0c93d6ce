package tls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

// TicketKey encrypts session tickets.
type TicketKey [32]byte

// SetTickets sets the keys of session tickets: the first encrypts, all decrypt. Until
// it is called each process makes and rotates its own keys, which no other process
// knows.
func (s *Store) SetTickets(keys []TicketKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tickets = slices.Clone(keys)
	for _, c := range s.configs {
		c.setTickets(keys)
	}
}

// The keys of a process live as long as shared ones.
const (
	ownTicketLife = 12 * time.Hour
	ownTickets    = 3
)

// serverConfig is a listener's configuration, and the configurations for names that
// demand a client certificate.
//
// Each group of names has keys of its own: a session that began with one client
// certificate must not be resumed where another one is demanded. A configuration
// without its own keys would use those of the base, and the library rotates keys only
// if none were set. So the keys of groups are rotated here.
type serverConfig struct {
	base    *tls.Config
	byGroup map[*ClientGroup]*tls.Config

	mu     sync.Mutex
	shared bool // the keys are from SetTickets
	turned time.Time
	own    map[*ClientGroup][][32]byte // newest first
}

// of returns the configuration of a group, nil for none.
func (c *serverConfig) of(g *ClientGroup) *tls.Config {
	config := c.byGroup[g]
	if config == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shared && time.Since(c.turned) >= ownTicketLife {
		c.turn()
	}
	return config
}

// turn gives each group a new key, and drops keys that are too old. The first handshake
// that finds it due does this, because keys are not needed before.
func (c *serverConfig) turn() {
	kept := max(ownTickets-int(time.Since(c.turned)/ownTicketLife), 0)
	if c.own == nil {
		c.own = make(map[*ClientGroup][][32]byte)
	}
	for g, config := range c.byGroup {
		var fresh [32]byte
		rand.Read(fresh[:])
		old := c.own[g]
		c.own[g] = append([][32]byte{fresh}, old[:min(len(old), kept)]...)
		config.SetSessionTicketKeys(c.own[g])
	}
	c.turned = time.Now()
}

// setTickets derives the keys of all groups from shared ones; without shared keys each
// group gets its own.
func (c *serverConfig) setTickets(keys []TicketKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared = len(keys) > 0
	if !c.shared {
		c.turn()
		return
	}
	derive := func(purpose string) (derived [][32]byte) {
		for _, k := range keys {
			mac := hmac.New(sha256.New, k[:])
			mac.Write([]byte(purpose))
			derived = append(derived, [32]byte(mac.Sum(nil)))
		}
		return derived
	}
	c.base.SetSessionTicketKeys(derive("any client"))
	for group, config := range c.byGroup {
		config.SetSessionTicketKeys(derive("clients of " + group.Name))
	}
}
