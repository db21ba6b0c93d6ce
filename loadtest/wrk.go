package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ask is what one measurement requests.
type ask struct {
	url     string
	host    string // web.loadtest when empty
	conns   int
	close   bool
	body    int
	hosts   int
	rate    float64
	lasts   time.Duration
	own     bool     // with our own generator
	streams int      // at once on each connection, over HTTP/2; 0 for HTTP/1
	grpc    bool     // calls of gRPC
	fields  []string // that are sent, each a line
	clients int      // so many values of X-Client in turn; 0 for no such field
}

// generator is a process that makes load.
type generator struct {
	cmd *exec.Cmd
	out strings.Builder
	// read parses what it printed.
	read func(out string) (seen, error)
	// lasts is how long it makes load, zero for less than a minute.
	lasts time.Duration
	// files go with it.
	files []string
}

func newGenerator(cmd *exec.Cmd, read func(string) (seen, error)) *generator {
	g := &generator{cmd: cmd, read: read}
	cmd.Stdout, cmd.Stderr = &g.out, &g.out
	return g
}

// wait waits for its end and returns what it saw.
func (g *generator) wait() (seen, error) {
	// Some go on for ever now and then, for all that they say that they have ended.
	const late = time.Minute
	stuck := time.AfterFunc(g.lasts+late, func() { g.cmd.Process.Kill() })
	err := g.cmd.Wait()
	stuck.Stop()
	defer func() {
		for _, f := range g.files {
			os.Remove(f)
		}
	}()
	if err != nil {
		return seen{}, fmt.Errorf("%s: %w: %s", g.cmd, err, g.out.String())
	}
	return g.read(g.out.String())
}

// generate runs the generator for a.
func generate(ctx context.Context, a ask) (seen, error) {
	g, err := generatorFor(ctx, a)
	if err != nil {
		return seen{}, err
	}
	if err := g.cmd.Start(); err != nil {
		return seen{}, err
	}
	return g.wait()
}

// generatorFor uses wrk if it is there and can do it, because it leaves most of the
// core to the origin; h2load for HTTP/2; otherwise our own generator.
func generatorFor(ctx context.Context, a ask) (*generator, error) {
	g, err := newGeneratorFor(ctx, a)
	if err == nil {
		g.lasts = a.lasts
	}
	return g, err
}

func newGeneratorFor(ctx context.Context, a ask) (*generator, error) {
	if h2load, ok := findH2load(); ok && a.streams > 0 && !a.own {
		return newH2load(ctx, h2load, a)
	}
	if wrk, err := exec.LookPath("wrk"); err == nil && a.rate == 0 && !a.own && strings.HasPrefix(a.url, "http") {
		return newWrk(ctx, wrk, a)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"generate", a.url, "--host=" + cmp.Or(a.host, "web.loadtest"), fmt.Sprintf("--conns=%d", a.conns), "--for=" + a.lasts.String(), fmt.Sprintf("--body=%d", a.body),
		fmt.Sprintf("--hosts=%d", a.hosts), fmt.Sprintf("--rate=%f", a.rate), fmt.Sprintf("--streams=%d", a.streams)}
	if a.close {
		args = append(args, "--close")
	}
	if a.host != "" {
		args = append(args, "--host="+a.host)
	}
	for _, line := range a.fields {
		args = append(args, "--field="+line)
	}
	if a.clients > 0 {
		args = append(args, fmt.Sprintf("--clients=%d", a.clients))
	}
	return newGenerator(pinned(ctx, otherCore, self, args...), readSeen), nil
}

// readSeen reads what our own generator prints, and wrk with our script.
func readSeen(out string) (s seen, err error) {
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, fmt.Errorf("the generator printed %q: %w", out, err)
	}
	return s, nil
}

// newWrk returns wrk with a script of ours.
func newWrk(ctx context.Context, wrk string, a ask) (*generator, error) {
	var lua strings.Builder
	fmt.Fprintf(&lua, "wrk.headers[%q] = %q\n", "Host", cmp.Or(a.host, "web.loadtest"))
	for _, line := range a.fields {
		name, value, _ := strings.Cut(line, ": ")
		fmt.Fprintf(&lua, "wrk.headers[%q] = %q\n", name, value)
	}
	if a.clients > 0 {
		// Making a head from a table for each request would cost the core of the origin
		// more than the origin.
		fmt.Fprintf(&lua, `local before, after
local i = math.floor(os.time()) %% %d
function init()
  wrk.headers['X-Client'] = '@@@@@@'
  local whole = wrk.format()
  local from, to = whole:find('@@@@@@', 1, true)
  before, after = whole:sub(1, from - 1), whole:sub(to + 1)
end
function request()
  i = (i + 7919) %% %d
  return before .. 'c' .. i .. after
end
`, a.clients, a.clients)
	}
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
  io.stderr:write(string.format('{"requests": %d, "failed": %d, "bytes": %d, "seconds": %f, "p50_us": %f, "p99_us": %f, "p999_us": %f}',
    s.requests, s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout, s.bytes, s.duration / 1e6,
    l:percentile(50), l:percentile(99), l:percentile(99.9)))
end
`)
	script, err := os.CreateTemp("", "loadtest*.lua")
	if err != nil {
		return nil, err
	}
	_, err = script.WriteString(lua.String())
	if err := errors.Join(err, script.Close()); err != nil {
		return nil, err
	}
	cmd := pinned(ctx, otherCore, wrk, "-t1", fmt.Sprintf("-c%d", a.conns), fmt.Sprintf("-d%ds", wholeSeconds(a.lasts)),
		"--timeout=60s", "-s", script.Name(), a.url)
	g := newGenerator(cmd, readSeen)
	g.files = []string{script.Name()}
	cmd.Stdout = nil // what wrk itself prints is of no use beside what the script does
	return g, nil
}

// wholeSeconds is d rounded up: the generators of others know no parts of
// seconds.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
