package admin

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ConfigStatus is the state of the config file.
type ConfigStatus struct {
	File string `json:"file"`
	// Read is when what is in force was read. Applied and Refused count the changes of
	// the file since the start.
	Read             time.Time `json:"read"`
	Applied, Refused uint64    `json:"-"`
	// Problem is why the file as it is now is not in force, empty when it is.
	Problem      string    `json:"problem,omitempty"`
	ProblemSince time.Time `json:"problem_since,omitzero"`
	// Waits are the settings that have changed and take effect at a restart.
	Waits []string `json:"wait_for_restart,omitempty"`
}

// warnings say what is wrong although requests are served.
func (s *ConfigStatus) warnings() (why []string) {
	if s.Problem != "" {
		why = append(why, "config file: what it said before is in force, since "+s.ProblemSince.UTC().Format(time.RFC3339)+": "+s.Problem)
	}
	if len(s.Waits) > 0 {
		why = append(why, "config file: take effect at a restart: "+strings.Join(s.Waits, ", "))
	}
	return why
}

var (
	configReads = desc("serai_config_reloads_total", "Changes of the config file, or of files that it refers to, that were applied, or refused because of an error.", "result")
	configWrong = desc("serai_config_wrong_seconds", "How long the config file has had an error, so that what it said before is in force; 0 while it has none.")
	configWaits = desc("serai_config_restart_settings", "Settings of the config file that have changed and take effect at a restart.")
)

func collectConfig(out chan<- prometheus.Metric, s ConfigStatus) {
	counter(out, configReads, s.Applied, "applied")
	counter(out, configReads, s.Refused, "refused")
	wrong := 0.0
	if s.Problem != "" {
		wrong = max(0, time.Since(s.ProblemSince).Seconds())
	}
	gauge(out, configWrong, wrong)
	gauge(out, configWaits, float64(len(s.Waits)))
}
