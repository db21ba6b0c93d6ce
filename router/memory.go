package router

import (
	"serai/upstream"
)

// What the parts of a table take, in bytes, estimated so that their sum is not less than
// what they are seen to take: TestMemoryIsNotUnderestimated. The tags themselves belong to
// the snapshot; only what is copied of them is counted.
const (
	// claimBytes is for a route with its place in the index, its pool and its room.
	claimBytes = 376
	// spelledBytes is for its place among those whose path has encoded bytes, without that path.
	spelledBytes = 200
	// lingeringBytes is what a route takes besides while it lingers.
	lingeringBytes = 24
	// definitionBytes is for what the routes of one definition have in common, with the
	// counters that a request makes.
	definitionBytes = 2300
	// memberBytes is for a member, without its endpoint.
	memberBytes = 228
	// endpointBytes is for an endpoint, with all by which it is found and probed.
	endpointBytes = 1950
	// poolBytes is for members that routes share, pairBytes for each of them in one pool,
	// and stickyBytes for its cookie.
	poolBytes   = 350
	pairBytes   = 16
	stickyBytes = 200
	// rejectionBytes is for a rejection without its hosts, serviceBytes for a service, whatever it gets, with
	// the rejection that names the quota.
	rejectionBytes = 1300
	serviceBytes   = 1000
)

// lingeringShare is the part of each quota of memory that lingering claims take besides.
const lingeringShare = 4

// maxRefusals bounds the rejections of one service that are kept.
const maxRefusals = 500

// bytesOfHosts is what the hosts of a rejection take.
func bytesOfHosts(hosts []string) (n int) {
	for _, host := range hosts {
		n += 16 + len(host)
	}
	return n
}

// bytes is what a definition takes without its claims. Names are copied to lower case,
// conditions for comparison.
func (d *Definition) bytes() int {
	return definitionBytes + d.size + d.Options.OfRoute.Size() + d.Instance.OfInstance.Size()
}

// lingering returns how many of the routes linger, and what they take.
func lingering(routes []*Route) (n, memory int) {
	seen := make(map[*Common]bool)
	for _, r := range routes {
		if r.Lingers() {
			n++
			memory += r.lingeringBytes(seen)
		}
	}
	return n, memory
}

// lingeringBytes is what a lingering route takes, with what it has in common with others
// unless that was seen.
func (r *Route) lingeringBytes(seen map[*Common]bool) int {
	n := claimBytes + lingeringBytes + len(r.Host) + len(r.Path)
	if r.isSpelled() {
		n += spelledBytes + len(r.Path)
	}
	if !seen[r.Common] {
		seen[r.Common] = true
		n += poolBytes + r.Common.bytes
	}
	return n
}

// bytesOfMember is what an instance takes for one of its definitions. Targets are those
// that it has already.
func bytesOfMember(t *upstream.Target, targets []upstream.Target) int {
	for i := range targets {
		if targets[i] == *t {
			return memberBytes
		}
	}
	return memberBytes + endpointBytes + 4*(len(t.TLSName)+len(t.Peer.Service)+len(t.Peer.Datacenter)+len(t.Check.Path)+len(t.Check.Host))
}
