package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"

	_ "golang.org/x/crypto/x509roots/fallback" // an image FROM scratch has no roots of trust
)

// defaultMaxConns is half of the file descriptors, since each client may need
// one to an instance; Go has raised the soft limit to the hard one.
func defaultMaxConns() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > math.MaxInt32 {
		return math.MaxInt32
	}
	return max(64, int(limit.Cur)/2-64)
}

// boundMemory makes the garbage collector keep less, since requests make next to
// no garbage, and work harder before Nomad's limit ends the task. GOGC and
// GOMEMLIMIT win.
func boundMemory(getenv func(string) string) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	most := getenv("NOMAD_MEMORY_MAX_LIMIT")
	if most == "" {
		most = getenv("NOMAD_MEMORY_LIMIT")
	}
	if megabytes, err := strconv.ParseInt(most, 10, 32); err == nil && megabytes > 0 {
		debug.SetMemoryLimit(megabytes << 20 / 10 * 9)
	}
}
