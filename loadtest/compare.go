package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// compareCommand runs serai and every other proxy on PATH side by side, each in
// turn under the same load, and prints ratios. The proxy has one core; the
// origin and the load have the other.
type compareCommand struct {
	Quick     bool          `help:"Twenty minutes instead of an hour: fewer and shorter rounds."`
	Rounds    int           `default:"9" help:"Rounds; the middle half of them counts."`
	For       time.Duration `default:"3s" help:"How long each proxy is under load in a round, in turns with the others."`
	Latencies int           `default:"3" help:"Rounds in which latencies are measured, too."`
	Only      []string      `help:"Scenarios whose name contains one of these." placeholder:"WORD,..."`
	Peers     []string      `help:"Only these proxies beside serai." placeholder:"NAME,..."`
	Routes    int           `default:"100000" help:"Routes in the scenario of many."`
	Idle      int           `default:"10000" help:"Connections in the scenario of idle ones."`
	Binary    string        `help:"serai; built when empty." placeholder:"PATH"`
	Before    string        `help:"Another build of serai, which this one is compared with instead of the other proxies: no scenario may be worse by more than 2 %." placeholder:"PATH"`
	Traces    *float64      `help:"A share of requests, such as 0.01: serai traces it to a collector, and is compared with itself without tracing (or --before) instead of the other proxies: no more than 2 % of CPU." placeholder:"SHARE"`
	JSON      string        `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
	HTML      string        `name:"html" help:"Also write a report with charts, self-contained, to this file." placeholder:"FILE"`
}

// Run measures, prints, and fails when a target is missed.
func (c *compareCommand) Run(ctx context.Context) (err error) {
	if c.Quick {
		// Shorter ones would measure how connections begin, and fewer rounds
		// what the machine's neighbours do in a few minutes.
		c.Rounds, c.For, c.Latencies = min(c.Rounds, 6), min(c.For, 1500*time.Millisecond), min(c.Latencies, 1)
	}
	files := raiseLimit()
	// A proxy needs two descriptors for a connection, or refuses beyond half.
	c.Idle = min(c.Idle, int(files-500)*3/8-100) // what serai gives one of two listeners
	dir, err := os.MkdirTemp("", "loadtest")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if c.Binary == "" {
		if c.Binary, err = buildSerai(ctx, dir); err != nil {
			return err
		}
	}
	s := setting{Cert: filepath.Join(dir, "certs", "default.crt"), Key: filepath.Join(dir, "certs", "default.key"), Pem: filepath.Join(dir, "both.pem"), Conns: int(files-500) / 2}
	if err := writeCertificate(s); err != nil {
		return err
	}
	for _, a := range []*string{&s.Origin, &s.GRPC} {
		if *a, err = freeAddress(); err != nil {
			return err
		}
	}
	end, err := c.collectTraces(&s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	origin := pinned(ctx, otherCore, self, "origin", s.Origin, "--grpc="+s.GRPC)
	origin.Stderr = os.Stderr
	if err := origin.Start(); err != nil {
		return err
	}
	defer func() {
		origin.Process.Signal(os.Interrupt)
		origin.Wait()
	}()
	for _, a := range []string{s.Origin, s.GRPC} {
		if err := awaitOpen(ctx, a); err != nil {
			return err
		}
	}
	report := &report{Machine: machine(), Date: time.Now().UTC().Format(time.DateOnly), Rounds: c.Rounds, Seconds: c.For.Seconds()}
	kinds := c.find(report)
	if kinds, err = usable(ctx, kinds, s, report); err != nil {
		return err
	}
	// The generator that measures latencies, and the origin, have one core for
	// themselves and each other. Beyond their own limits they would measure
	// themselves.
	alone, err := generate(ctx, ask{url: "http://" + s.Origin + "/small", conns: 64, lasts: c.For, own: true})
	if err != nil {
		return err
	}
	report.LatencyRate = math.Floor(float64(alone.Requests) / alone.Seconds * 0.4)
	// What was measured before something went wrong is told all the same.
	failed := c.compare(ctx, kinds, s, report)
	report.judge()
	report.print(os.Stdout)
	if err := writeJSON(c.JSON, report); err != nil {
		return err
	}
	if c.HTML != "" {
		if err := report.writeHTML(c.HTML); err != nil {
			return err
		}
	}
	return errors.Join(failed, report.verdict())
}

// found is a proxy that exists on this machine.
type found struct {
	kind   peerKind
	binary string
}

// find looks for the proxies, and names the missing ones.
func (c *compareCommand) find(r *report) (all []found) {
	for _, k := range peerKinds() {
		if !c.takesPart(&k) {
			continue
		}
		binary := c.binary(&k)
		if binary == "" {
			r.Missing = append(r.Missing, k.name)
			fmt.Fprintf(os.Stderr, "%s is not on PATH: skipped\n", k.name)
			continue
		}
		out, _ := exec.Command(binary, k.version...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		r.Versions = append(r.Versions, k.name+": "+line)
		all = append(all, found{k, binary})
	}
	return all
}

// takesPart reports whether a kind of proxy is compared.
func (c *compareCommand) takesPart(k *peerKind) bool {
	switch {
	case k.name == seraiName:
		return true
	case k.name == beforeName:
		return c.Before != "" || c.Traces != nil
	case len(c.Peers) > 0:
		return slices.Contains(c.Peers, k.name)
	}
	return c.Before == "" && c.Traces == nil
}

// binary is the file of a proxy, empty where there is none.
func (c *compareCommand) binary(k *peerKind) string {
	switch k.name {
	case seraiName:
		return c.Binary
	case beforeName:
		return cmp.Or(c.Before, c.Binary)
	}
	path, _ := exec.LookPath(k.name)
	return path
}

// usable leaves out, and names, the proxies that do not forward with our configuration,
// for example a new version.
func usable(ctx context.Context, kinds []found, s setting, r *report) (all []found, err error) {
	for _, f := range kinds {
		p, err := startPeer(ctx, &f.kind, f.binary, s)
		switch {
		case err == nil:
			p.stop()
			all = append(all, f)
		case f.kind.name == seraiName || ctx.Err() != nil:
			return nil, err
		default:
			r.Missing = append(r.Missing, f.kind.name)
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", f.kind.name, err)
		}
	}
	return all, nil
}

// compare runs all benches. Those with many routes have processes of their own.
func (c *compareCommand) compare(ctx context.Context, kinds []found, s setting, r *report) error {
	var few, many, rules []bench
	for _, b := range allBenches() {
		_, h2load := findH2load()
		switch {
		case !wanted(c.Only, b.name):
		case b.ask.streams > 0 && !b.ask.own && !h2load:
			fmt.Fprintf(os.Stderr, "h2load is not on PATH: %s is skipped\n", b.name)
		case b.rule != nil:
			rules = append(rules, b)
		case b.routes:
			many = append(many, b)
		default:
			few = append(few, b)
		}
	}
	if err := c.measureAll(ctx, kinds, s, few, r); err != nil {
		return err
	}
	if wanted(c.Only, idleName) {
		for _, k := range idleKinds() {
			if err := c.idle(ctx, kinds, s, k, r); err != nil {
				return err
			}
		}
	}
	if len(rules) > 0 {
		if err := c.comparePolicies(ctx, kinds, s, rules, r); err != nil {
			return err
		}
	}
	if len(many) == 0 {
		return nil
	}
	for i := range c.Routes {
		s.Hosts = append(s.Hosts, manyHost(i))
	}
	var able []found
	for _, f := range kinds {
		if f.kind.hosts {
			able = append(able, f)
		}
	}
	return c.measureAll(ctx, able, s, many, r)
}

func wanted(only []string, name string) bool {
	for _, word := range only {
		if strings.Contains(name, word) {
			return true
		}
	}
	return len(only) == 0
}

// awaitOpen waits until somebody listens.
func awaitOpen(ctx context.Context, address string) error {
	return eventually(ctx, address, func() error {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}
