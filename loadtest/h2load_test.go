package main

import "testing"

func TestReadH2load(t *testing.T) {
	const out = `starting benchmark...
TLS Protocol: TLSv1.3
Application protocol: h2

finished in 3.01s, 41234.67 req/s, 8.21MB/s
requests: 123704 total, 123832 started, 123704 done, 123700 succeeded, 4 failed, 4 errored, 0 timeout
`
	s, err := readH2load(out)
	if want := (seen{Requests: 123704, Failed: 4, Seconds: 3.01}); err != nil || s != want {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
	if _, err := readH2load("Application protocol: http/1.1\n"); err == nil {
		t.Error("HTTP/1 is taken for HTTP/2")
	}
}
