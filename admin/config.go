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
	// Hangs is the file whose read does not come back, the config file or one that it refers
	// to, so that no change is seen; empty for none. HangsSince is when the read began.
	Hangs      string    `json:"hangs,omitempty"`
	HangsSince time.Time `json:"hangs_since,omitzero"`
	// Waits are the settings that have changed and take effect at a restart.
	Waits []string `json:"wait_for_restart,omitempty"`
	// Secrets are those that the file keeps in Nomad variables.
	Secrets []SecretStatus `json:"secrets,omitempty"`
}

// SecretStatus is the state of a secret that is kept in a Nomad variable.
type SecretStatus struct {
	Variable string `json:"variable"`
	Item     string `json:"item"`
	For      string `json:"for"`
	// Problem is why it is not known as it is now, empty when it is. Used says that what
	// it said before is in force meanwhile; otherwise nobody gets in.
	Problem      string    `json:"problem,omitempty"`
	ProblemSince time.Time `json:"problem_since,omitzero"`
	Used         bool      `json:"used"`
}

// warnings say what is wrong although requests are served.
func (s *ConfigStatus) warnings() (why []string) {
	if s.Problem != "" {
		why = append(why, "config file: the last good version is in force, since "+s.ProblemSince.UTC().Format(time.RFC3339)+": "+s.Problem)
	}
	if s.Hangs != "" {
		why = append(why, "config file: no change is seen since "+s.HangsSince.UTC().Format(time.RFC3339)+": a read of "+s.Hangs+" hangs: it is a FIFO, or on a mount whose server does not answer")
	}
	if len(s.Waits) > 0 {
		why = append(why, "config file: take effect at a restart: "+strings.Join(s.Waits, ", "))
	}
	for _, one := range s.Secrets {
		if one.Problem == "" {
			continue
		}
		now := "nobody gets in"
		if one.Used {
			now = "the last good version is in force"
		}
		why = append(why, "config file: "+one.For+": "+now+", since "+one.ProblemSince.UTC().Format(time.RFC3339)+": "+one.Problem)
	}
	return why
}

var (
	configReads = desc("serai_config_reloads_total", "Changes of the config file or of files it refers to, by result: applied, or refused because of an error.", "result")
	configWrong = desc("serai_config_wrong_seconds", "Time since the config file has had an error, during which the last good version stays in force; 0 if it has none.")
	configHangs = desc("serai_config_hangs_seconds", "Time that a read of the config file, or of a file it refers to, has been hanging, so that changes are not seen; 0 if none hangs.")
	secretWrong = desc("serai_secret_wrong_seconds", "Time that a secret in a Nomad variable could not be read or used: its last good value stays in force, or nobody gets in if there is none; 0 if it is fine.", "variable", "item")
	configWaits = desc("serai_config_restart_settings", "Settings changed in the config file that take effect only after a restart.")
)

func collectConfig(out chan<- prometheus.Metric, s ConfigStatus) {
	counter(out, configReads, s.Applied, "applied")
	counter(out, configReads, s.Refused, "refused")
	wrong := 0.0
	if s.Problem != "" {
		wrong = max(0, time.Since(s.ProblemSince).Seconds())
	}
	gauge(out, configWrong, wrong)
	hangs := 0.0
	if s.Hangs != "" {
		hangs = max(0, time.Since(s.HangsSince).Seconds())
	}
	gauge(out, configHangs, hangs)
	gauge(out, configWaits, float64(len(s.Waits)))
	worst := make(map[[2]string]float64)
	for _, one := range s.Secrets {
		wrong := 0.0
		if one.Problem != "" {
			wrong = max(0, time.Since(one.ProblemSince).Seconds())
		}
		key := [2]string{one.Variable, one.Item} // which several may need
		worst[key] = max(worst[key], wrong)
	}
	for key, seconds := range worst {
		gauge(out, secretWrong, seconds, key[0], key[1])
	}
}
