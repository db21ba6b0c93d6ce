package admin

import (
	"github.com/prometheus/client_golang/prometheus"

	"serai/mesh"
)

var (
	meshEnd      = desc("serai_connect_expiry_timestamp_seconds", "Unix time at which serai's certificate in Consul's service mesh expires, and the last CA root; absent before they are known.", "what")
	meshRead     = desc("serai_connect_renewals_total", "New leaf certificates and new lists of CA roots received from Consul's service mesh.", "what")
	meshTroubles = desc("serai_connect_problems", "Problems of serai in Consul's service mesh, which /ready lists; 0 is good; absent as long as no service in the mesh is routed to.")
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
