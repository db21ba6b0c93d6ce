package discovery

import "time"

// Phase is how far a source can be trusted.
type Phase string

// A source is starting until it has something to send: a cached snapshot, or a complete
// one. It is live while it receives changes, polling while it must ask for them, stale
// when it can do neither: then what it knew last stays.
const (
	Starting Phase = "starting"
	Cached   Phase = "cached"
	Live     Phase = "live"
	Polling  Phase = "polling"
	Stale    Phase = "stale"
)

// Status is the state of a source at one moment.
type Status struct {
	// Source names it: "nomad *", "file /etc/services.json".
	Source string `json:"source"`
	Phase  Phase  `json:"phase"`
	// Since is when the phase began; for stale and cached, since when nothing was
	// received.
	Since time.Time `json:"since"`
	// Problem is what is wrong, with what to do about it; empty when nothing is.
	Problem string `json:"problem,omitempty"`
	// Away says of a source that is starting that nothing can be asked of it: the Problem
	// says why. Static says that the operator wrote it.
	Away   bool `json:"away,omitempty"`
	Static bool `json:"static,omitempty"`
	// Read is when everything was last read completely.
	Read time.Time `json:"read,omitzero"`
	// Heard is when the stream last sent anything.
	Heard time.Time `json:"heard,omitzero"`
	// Index is the newest known Nomad index.
	Index     uint64 `json:"index,omitempty"`
	Services  int    `json:"services"`
	Instances int    `json:"instances"`
	// Forbidden are the namespaces of which serai gets no changes because a permission
	// is missing. What is known there stays.
	Forbidden []Forbidden `json:"forbidden,omitempty"`
	// Events, Breaks and Scans count since the start: Continued is the number of
	// streams that provably missed nothing, after which nothing was read; Scans is how
	// often everything was listed.
	Events    uint64 `json:"events"`
	Breaks    uint64 `json:"breaks"`
	Continued uint64 `json:"continued"`
	Scans     uint64 `json:"scans"`
}

// Forbidden is a namespace that may not be read.
type Forbidden struct {
	Namespace string    `json:"namespace"`
	Since     time.Time `json:"since"`
	Problem   string    `json:"problem"`
}

// Ready reports whether the source has sent everything that it knows, or knew last.
func (s *Status) Ready() bool { return s.Phase != Starting }

func (s *Status) count(services map[Key]*Service) {
	s.Services, s.Instances = len(services), 0
	for _, service := range services {
		s.Instances += len(service.Instances)
	}
}
