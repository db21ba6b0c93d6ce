package main

import (
	"testing"

	"serai/upstream"
	upstreamhttp1 "serai/upstream/http1"
	upstreamhttp2 "serai/upstream/http2"
)

// TestTransports: the scheme says how an instance is spoken to.
func TestTransports(t *testing.T) {
	r := upstream.NewRegistry(upstream.RegistryOptions{Transport: transports(0, nil)})
	for scheme, want := range map[upstream.Scheme]bool{
		upstream.HTTP: false, upstream.HTTPS: false, upstream.H2C: true, upstream.GRPC: true, upstream.H2: true, upstream.GRPCS: true,
	} {
		e := r.Acquire(upstream.Target{Address: "192.0.2.1:80", Scheme: scheme})
		_, one := e.Transport().(*upstreamhttp1.Transport)
		_, two := e.Transport().(*upstreamhttp2.Transport)
		if two != want || one == want {
			t.Errorf("scheme %d is spoken over %T", scheme, e.Transport())
		}
		r.Release(e)
	}
}
