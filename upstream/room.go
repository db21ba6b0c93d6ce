package upstream

// Room is where the requests of one route wait while none of its members is
// ready. It outlives pools: requests that wait through a redeploy are woken
// by the members of the pool that is current by then.
type Room struct{}
