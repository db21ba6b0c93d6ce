package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// h2loadStreams is how many requests are under way on one connection.
const h2loadStreams = 16

var (
	h2loadRate  = regexp.MustCompile(`finished in ([0-9.]+)(ms|s|m), `)
	h2loadCount = regexp.MustCompile(`requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded`)
)

// newH2load asks over HTTP/2 with h2load, which is of nghttp2.
func newH2load(ctx context.Context, h2load string, a ask) *generator {
	return newGenerator(pinned(ctx, otherCore, h2load, "-t1", fmt.Sprintf("-c%d", a.conns), fmt.Sprintf("-m%d", h2loadStreams),
		fmt.Sprintf("-D%d", wholeSeconds(a.lasts)), "-H", ":authority: web.loadtest", a.url), readH2load)
}

// readH2load reads what h2load prints.
func readH2load(out string) (s seen, err error) {
	took, count := h2loadRate.FindStringSubmatch(out), h2loadCount.FindStringSubmatch(out)
	if took == nil || count == nil || !strings.Contains(out, "Application protocol: h2") {
		return s, fmt.Errorf("h2load did not speak HTTP/2, or tells it otherwise: %s", out)
	}
	s.Seconds, _ = strconv.ParseFloat(took[1], 64)
	switch took[2] {
	case "ms":
		s.Seconds /= 1000
	case "m":
		s.Seconds *= 60
	}
	s.Requests, _ = strconv.ParseInt(count[1], 10, 64)
	good, _ := strconv.ParseInt(count[2], 10, 64)
	s.Failed = s.Requests - good
	return s, nil
}

// findH2load looks for it.
func findH2load() (path string, ok bool) {
	path, err := exec.LookPath("h2load")
	return path, err == nil
}
