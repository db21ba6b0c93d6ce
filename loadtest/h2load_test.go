package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestReadH2load(t *testing.T) {
	const out = `starting benchmark...
TLS Protocol: TLSv1.3
Application protocol: h2

finished in 3.01s, 41234.67 req/s, 8.21MB/s
requests: 123704 total, 123832 started, 123704 done, 123700 succeeded, 4 failed, 4 errored, 0 timeout
status codes: 123700 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 24.71MB (25913792) total, 1.50MB (1572864) headers (space savings 93.12%), 15.10MB (15834112) data
`
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("1500000000000000\t200\t100\n1500000000000100\t200\t300\n1500000000000200\t200\t200\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := readH2load(out, log)
	if want := (seen{Requests: 123704, Failed: 4, Seconds: 3.01, Bytes: 15834112, P50: 200, P99: 300, P999: 300}); err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	if _, err := readH2load("Application protocol: http/1.1\n", ""); err == nil {
		t.Error("HTTP/1 is taken for HTTP/2")
	}
}
