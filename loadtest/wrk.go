package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ask is what one measurement asks for.
type ask struct {
	url   string
	conns int
	close bool
	body  int
	hosts int
	rate  float64
	lasts time.Duration
	own   bool // with our own generator
	h2    bool // over HTTP/2
}

// generate measures with wrk where it can and wrk is there, since it leaves
// most of the core to the origin; else with our own generator.
func generate(ctx context.Context, a ask) (seen, error) {
	if h2load, ok := findH2load(); ok && a.h2 {
		return generateH2load(ctx, h2load, a)
	}
	if wrk, err := exec.LookPath("wrk"); err == nil && a.rate == 0 && !a.own && strings.HasPrefix(a.url, "http") {
		return generateWrk(ctx, wrk, a)
	}
	self, err := os.Executable()
	if err != nil {
		return seen{}, err
	}
	args := []string{"generate", a.url, fmt.Sprintf("--conns=%d", a.conns), "--for=" + a.lasts.String(), fmt.Sprintf("--body=%d", a.body),
		fmt.Sprintf("--hosts=%d", a.hosts), fmt.Sprintf("--rate=%f", a.rate)}
	if a.close {
		args = append(args, "--close")
	}
	cmd := pinned(ctx, otherCore, self, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return seen{}, fmt.Errorf("generate: %w", err)
	}
	var s seen
	return s, json.Unmarshal(out, &s)
}

func generateWrk(ctx context.Context, wrk string, a ask) (seen, error) {
	var lua strings.Builder
	fmt.Fprintf(&lua, "wrk.headers[%q] = %q\n", "Host", "web.loadtest")
	if a.close {
		fmt.Fprintf(&lua, "wrk.headers[%q] = %q\n", "Connection", "close")
	}
	if a.body > 0 {
		fmt.Fprintf(&lua, "wrk.method = 'POST'\nwrk.body = string.rep('x', %d)\n", a.body)
	}
	if a.hosts > 0 {
		fmt.Fprintf(&lua, "i = 0\nfunction request()\n  i = (i + 7919) %% %d\n  wrk.headers['Host'] = 'h' .. i .. '.loadtest'\n  return wrk.format()\nend\n", a.hosts)
	}
	lua.WriteString(`function done(s, l)
  io.stderr:write(string.format('{"requests": %d, "failed": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "p999_us": %f}',
    s.requests, s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout, s.duration / 1e6,
    l:percentile(50), l:percentile(99), l:percentile(99.9)))
end
`)
	script, err := os.CreateTemp("", "loadtest*.lua")
	if err != nil {
		return seen{}, err
	}
	defer os.Remove(script.Name())
	script.WriteString(lua.String())
	if err := script.Close(); err != nil {
		return seen{}, err
	}
	cmd := pinned(ctx, otherCore, wrk, "-t1", fmt.Sprintf("-c%d", a.conns), fmt.Sprintf("-d%ds", max(1, int(a.lasts.Seconds()))),
		"--timeout=20s", "-s", script.Name(), a.url)
	var out strings.Builder
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return seen{}, fmt.Errorf("wrk: %w: %s", err, out.String())
	}
	var s seen
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil {
		return seen{}, fmt.Errorf("wrk: %w: %s", err, out.String())
	}
	return s, nil
}
