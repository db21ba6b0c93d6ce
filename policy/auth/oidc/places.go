package oidc

import (
	"errors"
	"net/netip"
	"sync"
)

// Why the provider is not asked.
var (
	errBusy       = errors.New("too many requests wait for the provider")
	errClientBusy = errors.New("too many requests of this client wait for the provider")
	errTooOften   = errors.New("this client has come back from the provider too often")
	errGone       = errors.New("the client has left")
)

// places bounds the requests that wait for a provider, so that a slow one costs those who
// need it and nobody else. One client has a quarter of them.
type places struct {
	most     int
	mu       sync.Mutex
	taken    int
	byClient map[netip.Prefix]int
}

func newPlaces(most int) *places { return &places{most: most, byClient: make(map[netip.Prefix]int)} }

// enter takes a place, until leave is called.
func (p *places) enter(client netip.Prefix) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.byClient[client] >= max(1, p.most/4):
		return nil, errClientBusy
	case p.taken >= p.most:
		return nil, errBusy
	}
	p.taken++
	p.byClient[client]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.byClient[client]--; p.byClient[client] == 0 {
			delete(p.byClient, client)
		}
	}, nil
}
