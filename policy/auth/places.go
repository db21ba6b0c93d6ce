package auth

import (
	"net/netip"
	"sync"
)

// places bounds how many requests wait for a service at once, and how many of one client:
// a quarter of all.
type places struct {
	most     int
	mu       sync.Mutex
	underWay int
	byClient map[netip.Prefix]int
}

// begin takes a place for a request of a client's.
func (p *places) begin(client netip.Prefix) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.byClient[client] >= max(1, p.most/4):
		return errClientAsks
	case p.underWay >= p.most:
		return errAsks
	}
	if p.byClient == nil {
		p.byClient = make(map[netip.Prefix]int)
	}
	p.underWay++
	p.byClient[client]++
	return nil
}

// end gives it back.
func (p *places) end(client netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
	if p.byClient[client]--; p.byClient[client] == 0 {
		delete(p.byClient, client)
	}
}
