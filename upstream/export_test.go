package upstream

import "time"

// SetReady makes e ready without a probe, for benchmarks.
func SetReady(e *Endpoint) { e.move(e.phase(), Ready, "") }

// SetReadySince makes e look as if it had become ready then.
func SetReadySince(e *Endpoint, at time.Time) { e.since.Store(at.UnixNano()) }
