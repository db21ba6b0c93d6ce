package auth

import (
	"net/netip"
	"sync"
)

// Places bounds how many requests wait for a service at once, so that a slow one costs
// those who need it and nobody else. One client has a quarter of them.
type Places struct {
	most             int
	busy, clientBusy error

	mu       sync.Mutex
	taken    int
	byClient map[netip.Prefix]int
}

// NewPlaces makes so many. Busy is the error where all are taken, clientBusy where the
// client has its part of them.
func NewPlaces(most int, busy, clientBusy error) *Places {
	return &Places{most: most, busy: busy, clientBusy: clientBusy, byClient: make(map[netip.Prefix]int)}
}

// Enter takes a place for a request of a client's, until leave is called.
func (p *Places) Enter(client netip.Prefix) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.byClient[client] >= max(1, p.most/4):
		return nil, p.clientBusy
	case p.taken >= p.most:
		return nil, p.busy
	}
	p.taken++
	p.byClient[client]++
	return func() { p.leave(client) }, nil
}

func (p *Places) leave(client netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.byClient[client]--; p.byClient[client] == 0 {
		delete(p.byClient, client)
	}
}

// Now returns how many places are taken, and how many there are.
func (p *Places) Now() (taken, most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, p.most
}

// Taken returns how many places are taken, and by how many clients.
func (p *Places) Taken() (places, clients int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken, len(p.byClient)
}
