package mesh

import (
	"context"
	"fmt"
	"time"

	"serai/upstream"
)

// verdict is what Consul's intentions say about connections to a peer.
type verdict struct {
	why  string // they are denied; empty when they are not, or that is not known
	at   time.Time
	asks bool // it is being asked
}

const (
	// freshFor is how long a verdict is not asked for again, knownFor how long it is told.
	freshFor = 5 * time.Second
	knownFor = time.Minute
	// mostVerdicts bounds the verdicts that are kept.
	mostVerdicts = 1024
)

// Denies returns why Consul's intentions deny a connection to a peer, which has refused
// serai; empty when they do not, or when that is not known yet: then Consul is asked.
func (m *Mesh) Denies(to upstream.Peer) (why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, now := m.verdicts[to], time.Now()
	if v == nil {
		if len(m.verdicts) >= mostVerdicts {
			clear(m.verdicts)
		}
		v = &verdict{}
		m.verdicts[to] = v
	}
	if !v.asks && now.Sub(v.at) > freshFor {
		select {
		case m.asks <- to:
			v.asks = true
		default: // others are asked about; later
		}
	}
	if now.Sub(v.at) > knownFor {
		return ""
	}
	return v.why
}

// judge asks what Denies wants to know. A refusal may also mean that serai's certificate, or
// the sidecar's authority, is no longer good: so the agent is asked for its own again.
func (m *Mesh) judge(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case to := <-m.asks:
			allowed, err := m.options.Client.Intended(ctx, m.options.Service, to.Service)
			if ctx.Err() != nil {
				return
			}
			why := ""
			switch {
			case err != nil:
				m.options.Logger.Debug("whether an intention denies serai is not known", "service", to.Service, "error", err)
			case !allowed:
				why = fmt.Sprintf("an intention denies %s to connect to %s, or decides about its requests, which Consul does not tell apart: `consul intention create -allow %[1]s %[2]s` allows it", m.options.Service, to.Service)
			default:
				m.leaf.refresh()
			}
			m.mu.Lock()
			if m.verdicts[to] == nil {
				m.verdicts[to] = &verdict{}
			}
			*m.verdicts[to] = verdict{why: why, at: time.Now()}
			m.mu.Unlock()
		}
	}
}
