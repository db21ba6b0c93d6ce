package main

import (
	"math"

	"golang.org/x/sys/unix"

	_ "golang.org/x/crypto/x509roots/fallback" // an image FROM scratch has no roots of trust
)

// descriptors is how the process's file descriptors are shared, so that no part
// can use up what another needs.
type descriptors struct {
	clients   int // the client connections of all listeners together
	instances int // connections to instances: in use, idle and of probes
	admin     int // connections to the admin listener, of the reserve
}

// shareDescriptors gives clients half of a limit, and instances the other half
// but for a reserve: for Nomad, the admin listener, certificates and other files.
func shareDescriptors(limit int) descriptors {
	reserve := min(max(limit/8, 64), 512)
	if limit < 256 {
		reserve = limit / 4
	}
	clients := limit / 2
	return descriptors{clients: clients, instances: limit - clients - reserve, admin: max(1, reserve/4)}
}

// descriptorLimit is how many file descriptors the process may have; Go has
// raised the soft limit to the hard one.
func descriptorLimit() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return int(limit.Cur)
}
