package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"serai/claims"
)

var (
	contests       = desc("serai_claims_contests", "Hosts and paths that several services claim, by whether all nodes know the holder.", "recorded")
	contestsWrites = desc("serai_claims_writes_total", "Attempts of this node to write the record of contested claims.")
	contestsLost   = desc("serai_claims_conflicts_total", "Attempts to write in which another node was first.")
	contestsTold   = desc("serai_claims_trouble", "1 while contested claims cannot be recorded; absent while they can.", "why")
)

func collectClaims(out chan<- prometheus.Metric, s claims.Status) {
	gauge(out, contests, float64(s.Recorded), "yes")
	gauge(out, contests, float64(s.Unrecorded), "no")
	counter(out, contestsWrites, s.Writes)
	counter(out, contestsLost, s.Conflicts)
	if s.Trouble != "" {
		gauge(out, contestsTold, 1, s.Trouble)
	}
}
