package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"serai/claims"
)

var (
	contests       = desc("serai_claims_contests", "Hosts and paths claimed by more than one service, by whether the holder is recorded for all nodes (yes) or not (no).", "recorded")
	contestsWrites = desc("serai_claims_writes_total", "Writes of the record of contested claims that this node tried.")
	contestsLost   = desc("serai_claims_conflicts_total", "Writes of the record of contested claims that did not take effect because another node wrote first; they are repeated.")
	contestsTold   = desc("serai_claims_trouble", "1 while contested claims cannot be recorded, with the cause in the label why; absent otherwise.", "why")
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
