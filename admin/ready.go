package admin

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"serai/discovery"
)

// Ready reports whether requests should come here: there is a table, every source has
// sent all that it knows (or knew), and serai is not stopping. A source that cannot be asked
// is not waited for when another one has been read: see awayGrace.
func (a *Admin) Ready() bool {
	if a.draining.Load() {
		return false
	}
	ready, _ := a.known()
	return ready
}

// awayGrace is how long a start waits for a source that nothing can be asked of, while
// another one is known: Nomad without Consul, or the reverse. After a reboot both come soon;
// later, what is known should be served rather than nothing.
const awayGrace = 15 * time.Second

// known reports whether enough is known to serve requests, and without which sources.
func (a *Admin) known() (ready bool, without []string) {
	some := false
	for _, source := range a.options.Sources {
		for _, s := range source.Status() {
			switch {
			case s.Ready():
				some = some || !s.Static
			case s.Away && time.Since(s.Since) >= awayGrace:
				without = append(without, s.Source)
			default:
				return false, nil
			}
		}
	}
	if len(without) > 0 {
		return some && a.partly.Load(), without
	}
	return a.published.Load(), nil
}

// Readiness is the answer of /ready.
type Readiness struct {
	Ready    bool `json:"ready"`
	Draining bool `json:"draining"`
	// FromCache says that a source has only sent what it knew before the start.
	FromCache bool `json:"from_cache"`
	// Why says what readiness waits for, and what is wrong although requests are
	// served.
	Why     []string `json:"why,omitempty"`
	Sources []Source `json:"sources"`
	// Config is the state of the config file, absent without one. It says nothing about
	// readiness.
	Config *ConfigStatus `json:"config,omitempty"`
}

// Source is the state of one source of services.
type Source struct {
	discovery.Status
	// Says is the same in words.
	Says string `json:"says"`
}

// readiness returns Ready with its reasons.
func (a *Admin) readiness() Readiness {
	known, without := a.known()
	r := Readiness{Ready: known, Draining: a.draining.Load(), Sources: []Source{}}
	if r.Draining {
		r.Ready = false
		r.Why = append(r.Why, "stopping: requests are still served, but new ones should go to another node")
	}
	switch {
	case known && len(without) > 0:
		r.Why = append(r.Why, fmt.Sprintf("ready without %s: requests for hosts that are not known are answered 503", strings.Join(without, ", ")))
	case !a.published.Load():
		r.Why = append(r.Why, "serai is starting: there is no complete routing table yet")
	}
	for _, source := range a.options.Sources {
		for _, s := range source.Status() {
			says := inWords(&s)
			r.Sources = append(r.Sources, Source{s, says})
			r.FromCache = r.FromCache || s.Phase == discovery.Cached
			if s.Phase != discovery.Live || s.Problem != "" || len(s.Forbidden) > 0 {
				r.Why = append(r.Why, s.Source+": "+says)
			}
		}
	}
	if a.options.Mesh != nil {
		r.Why = append(r.Why, a.options.Mesh().Problems...)
	}
	if a.options.Config != nil {
		s := a.options.Config()
		r.Config, r.Why = &s, append(r.Why, s.warnings()...)
	}
	if a.options.Tokens != nil {
		s := a.options.Tokens()
		r.Why = append(r.Why, s.warnings()...)
	}
	if a.options.LoginProblems != nil {
		r.Why = append(r.Why, a.options.LoginProblems()...)
	}
	return r
}

// inWords describes the state of a source.
func inWords(s *discovery.Status) string {
	since, says := s.Since.UTC().Format(time.RFC3339), string(s.Phase)
	switch s.Phase {
	case discovery.Starting:
		says = "starting: nothing has been read yet"
	case discovery.Cached:
		says = "served from the cache of " + since
	case discovery.Live, discovery.Polling, discovery.Stale:
		says += " since " + since
	}
	if s.Problem != "" {
		says += ": " + s.Problem
	}
	for _, f := range s.Forbidden {
		says += fmt.Sprintf("; namespace %q is stale since %s: %s", f.Namespace, f.Since.UTC().Format(time.RFC3339), f.Problem)
	}
	return says
}

// serveReadyBrief answers who may not know more: a load balancer needs the status alone.
func (a *Admin) serveReadyBrief(w http.ResponseWriter) {
	status := http.StatusOK
	if !a.Ready() {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]bool{"ready": status == http.StatusOK, "draining": a.draining.Load()})
}

func (a *Admin) serveReady(w http.ResponseWriter, _ *http.Request) {
	r := a.readiness()
	status := http.StatusOK
	if !r.Ready {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, r)
}
