package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"serai/mesh"
)

var (
	meshEnd      = desc("serai_connect_expiry_timestamp_seconds", "When serai's certificate in Consul's mesh ends, and the last root; absent before they are known.", "what")
	meshRead     = desc("serai_connect_renewals_total", "New certificates of serai in Consul's mesh, and new lists of roots, that were read.", "what")
	meshTroubles = desc("serai_connect_problems", "Number of things that are wrong with serai's place in Consul's mesh: /ready names them; absent before a service there is to be reached.")
)

// The values of the label.
const (
	certificateOfMesh = "certificate"
	rootsOfMesh       = "roots"
)

// collectMesh collects serai's place in Consul's mesh.
func collectMesh(out chan<- prometheus.Metric, s mesh.Status) {
	if !s.Wanted {
		return
	}
	if !s.Until.IsZero() {
		gauge(out, meshEnd, float64(s.Until.Unix()), certificateOfMesh)
	}
	if !s.RootsUntil.IsZero() {
		gauge(out, meshEnd, float64(s.RootsUntil.Unix()), rootsOfMesh)
	}
	counter(out, meshRead, s.Renewals, certificateOfMesh)
	counter(out, meshRead, s.Rotations, rootsOfMesh)
	gauge(out, meshTroubles, float64(len(s.Problems)))
}
