package main

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// clientShare is how many twentieths of the memory clients may take. The rest is
// for the program, tables, Nomad's answers, and what the collector leaves.
const clientShare = 12

// maxMemory is the most MiB that an operator may give, a TiB: who gives more has
// written bytes.
const maxMemory = 1 << 20

// memoryLimit returns what this process may use, in bytes: what the operator says,
// else GOMEMLIMIT, else nine tenths of what Nomad or the control group gives it. It
// is 0 where nobody sets a limit.
func memoryLimit(megabytes int64, getenv func(string) string) int64 {
	if megabytes > 0 {
		return megabytes << 20
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 { // it has been read
			return limit
		}
		return 0
	}
	for _, name := range []string{"NOMAD_MEMORY_MAX_LIMIT", "NOMAD_MEMORY_LIMIT"} {
		if n, err := strconv.ParseInt(getenv(name), 10, 32); err == nil && n > 0 {
			return n << 20 / 10 * 9
		}
	}
	group, err := memlimit.FromCgroup()
	if err != nil || group > 1<<40 {
		return 0
	}
	return int64(group / 10 * 9)
}

// boundMemory makes the garbage collector work harder before the limit ends the process. The
// program's own pages, which the collector does not know of, are resident as well. GOMEMLIMIT
// wins.
func boundMemory(limit int64) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit / 16 * 15)
	}
}
