package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// stressCommand loads serai with what wears a proxy out: very large bodies, very many
// clients, clients that are slow on purpose, too few descriptors, and time.
type stressCommand struct {
	Binary  string        `help:"serai; built when empty." placeholder:"PATH"`
	Only    []string      `help:"Trials whose name contains one of these." placeholder:"WORD,..."`
	For     time.Duration `default:"1h" help:"How long the mixed load lasts."`
	Bytes   int64         `default:"10000000000" help:"Bytes through one connection, each way."`
	Floods  time.Duration `default:"10m" help:"How long all floods last."`
	Kinds   []string      `help:"Only these floods of strangers; all when empty." placeholder:"NAME,..."`
	Conns   int           `default:"10000" help:"Connections of the trials with many."`
	Streams int           `default:"10000" help:"Streams of gRPC at once."`
	JSON    string        `name:"json" help:"Also write what was seen to this file." placeholder:"FILE"`
}

// trial is one such load.
type trial struct {
	name  string
	flags []string
	tags  []string // of the instance, besides its host
	// files bounds the descriptors that serai has, 0 for as many as there are.
	files int
	// memory is what serai has, in MiB; 0 for as much as there is.
	memory int
	run    func(*arena) error
}

func trials() []trial {
	return []trial{
		{name: "one large body through one connection", run: oneLargeBody},
		{name: "200 bodies of 10 MiB at once", run: manyBodies},
		{name: "memory of connections", flags: []string{"--keep-alive=10m", "--body-idle=10m", "--write-idle=10m"}, run: memory},
		{name: "slow heads on many connections", run: slowHeads},
		{name: "256 descriptors", files: 256, run: fewDescriptors},
		{name: "256 descriptors, without a limit of connections", files: 256, flags: []string{"--max-connections=100000"}, run: fewDescriptors},
		{name: "many streams of gRPC at once", tags: []string{"ingress.scheme=grpc"}, run: manyStreams},
		{name: "pages of the admin", run: pages},
		{name: "every flood at once", memory: floodLimit, run: floods},
		{name: "mixed load", run: mixedLoad},
	}
}

// arena is what a trial acts on: simulated jobs and one serai.
type arena struct {
	*testbed
	options *stressCommand
	admin   string // host:port
	nomad   string // URL of the simulator
	finding
}

// finding is what a trial showed.
type finding struct {
	Trial string   `json:"trial"`
	Seen  []string `json:"seen"`
	// Broken are the promises that were not kept.
	Broken []string `json:"broken,omitempty"`
}

// Run runs the trials one after the other, and fails when one broke a promise.
func (c *stressCommand) Run(ctx context.Context) error {
	// A client's connection has an end here and one in serai, which has another
	// towards the instance.
	c.Conns = min(c.Conns, int(raiseLimit()-500)/2-100)
	remove, err := needSerai(ctx, &c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	var found []finding
	var broken []error
	for _, t := range trials() {
		if !wanted(c.Only, t.name) || ctx.Err() != nil {
			continue
		}
		fmt.Printf("%s\n", t.name)
		f, err := c.try(ctx, &t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		for _, b := range f.Broken {
			broken = append(broken, fmt.Errorf("%s: %s", t.name, b))
		}
		found = append(found, f)
	}
	if err := writeJSON(c.JSON, found); err != nil {
		return err
	}
	return errors.Join(append(broken, ctx.Err())...)
}

// try runs one trial on a serai of its own.
func (c *stressCommand) try(ctx context.Context, t *trial) (finding, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sim, url, err := startSimulator(ctx)
	if err != nil {
		return finding{}, err
	}
	a := &arena{options: c, testbed: &testbed{simJobs: &simJobs{sim: sim.sim, binary: c.Binary}, ctx: ctx}}
	a.Trial, a.nomad = t.name, url
	defer func() {
		for _, i := range a.instances {
			i.kill()
		}
	}()
	if err := a.add(append([]string{host}, t.tags...)...); err != nil {
		return a.finding, err
	}
	if a.admin, err = freeAddress(); err != nil {
		return a.finding, err
	}
	binary, err := withFiles(c.Binary, t.files)
	if err != nil {
		return a.finding, err
	}
	if t.files > 0 {
		defer os.Remove(binary)
	}
	settings := append([]string{"--admin=" + a.admin}, t.flags...)
	if t.memory > 0 {
		var remove func()
		if binary, remove, err = withMemory(binary, t.memory); err != nil {
			return a.finding, err
		}
		defer remove()
		settings = append(settings, fmt.Sprintf("NOMAD_MEMORY_LIMIT=%d", t.memory))
	}
	serai, err := startSerai(ctx, binary, url, settings...)
	if err != nil {
		return a.finding, err
	}
	defer serai.stop()
	a.nodes = append(a.nodes, serai)
	if err := serai.await(ctx, "web.loadtest", "/"); err != nil {
		return a.finding, err
	}
	if err := t.run(a); err != nil {
		return a.finding, err
	}
	if !a.alive() {
		a.broken("serai has ended")
	}
	return a.finding, nil
}

// withFiles returns a program that runs binary with so many descriptors.
func withFiles(binary string, files int) (string, error) {
	if files == 0 {
		return binary, nil
	}
	script, err := os.CreateTemp("", "loadtest*.sh")
	if err != nil {
		return "", err
	}
	fmt.Fprintf(script, "#!/bin/sh\nulimit -n %d && exec %s \"$@\"\n", files, binary)
	return script.Name(), errors.Join(script.Chmod(0o700), script.Close())
}

// see prints and records something that was seen.
func (a *arena) see(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println("  " + line)
	a.Seen = append(a.Seen, line)
}

// broken prints and records a broken promise.
func (a *arena) broken(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	fmt.Println("  BROKEN: " + line)
	a.Broken = append(a.Broken, line)
}

func (a *arena) address() string { return a.nodes[0].address }
func (a *arena) pid() int        { return a.nodes[0].cmd.Process.Pid }

// alive reports whether serai still answers.
func (a *arena) alive() bool {
	return newClient(a.address()).get("web.loadtest", "/").status == 200
}

// rss returns serai's resident memory in bytes.
func (a *arena) rss() int64 { return usageOf(a.pid()).rss }

// descriptors returns how many serai has open.
func (a *arena) descriptors() int {
	open, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(a.pid()), "fd"))
	return len(open)
}

// metric returns the sum of a metric's values over all of its labels.
func (a *arena) metric(name string) (sum float64) {
	res, err := http.Get("http://" + a.admin + "/metrics")
	if err != nil {
		return -1
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, name); ok && (rest[0] == ' ' || rest[0] == '{') {
			value, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += value
		}
	}
	return sum
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
