package main

import "testing"

// TestMemoryLimit: what the operator says counts, then what Nomad gives; the rest
// is the machine's.
func TestMemoryLimit(t *testing.T) {
	for _, tc := range []struct {
		flag int64
		env  map[string]string
		want int64
	}{
		{64, map[string]string{"NOMAD_MEMORY_LIMIT": "128"}, 64 << 20},
		{0, map[string]string{"NOMAD_MEMORY_LIMIT": "100"}, 90 << 20},
		{0, map[string]string{"NOMAD_MEMORY_LIMIT": "100", "NOMAD_MEMORY_MAX_LIMIT": "1000"}, 900 << 20},
	} {
		// Nine tenths, in whole tenths of the limit.
		got := memoryLimit(tc.flag, func(name string) string { return tc.env[name] })
		if got < tc.want-10 || got > tc.want {
			t.Errorf("--memory=%d with %v: %d bytes, want %d", tc.flag, tc.env, got, tc.want)
		}
	}
}
