package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
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
	JSON      string        `name:"json" help:"Also write the results to this file." placeholder:"FILE"`
	HTML      string        `name:"html" help:"Also write a report with charts, self-contained, to this file." placeholder:"FILE"`
}

// bench is a scenario of the comparison.
type bench struct {
	name   string
	path   string
	size   int64 // of its answer in bytes, where that is large
	secure bool
	ask    ask // url and lasts are filled in
	routes bool
	// target is the largest ratio of CPU per request to the better of nginx and
	// HAProxy that keeps the promise; 0 when nothing is promised.
	target float64
	// against is the one that the target is about, the better of both if empty.
	against string
	// rate makes the target one of requests a second, the smallest ratio.
	rate bool
	// faster is how many times as many requests a second as Traefik's are
	// promised; 0 promises nothing.
	faster float64
	// ws asks for WebSocket messages.
	ws bool
}

func benches() []bench {
	return []bench{
		{name: "small answers, 64 connections", path: "small", ask: ask{conns: 64}, target: 0.9, faster: 5},
		{name: "small answers, 1000 connections", path: "small", ask: ask{conns: 1000}, target: 1.0},
		{name: "a connection per request", path: "small", ask: ask{conns: 64, close: true}},
		{name: "64 KiB answers, 64 connections", path: "64k", ask: ask{conns: 64}, target: 1.0, against: "haproxy"},
		{name: "10 MiB answers, 16 connections", path: "10m", size: 10 << 20, ask: ask{conns: 16}, target: 1.0, against: "haproxy"},
		{name: "64 KiB uploads, 64 connections", path: "up", ask: ask{conns: 64, body: 64 << 10}, target: 1.0, against: "haproxy"},
		{name: "1 MiB uploads, 16 connections", path: "up", ask: ask{conns: 16, body: 1 << 20}, target: 1.0, against: "haproxy"},
		{name: "TLS, small answers, 64 connections", path: "small", secure: true, ask: ask{conns: 64}, target: 1.1, against: "nginx"},
		{name: "TLS handshakes, 64 at once", path: "small", secure: true, ask: ask{conns: 64, close: true}, target: 1.0, against: "haproxy", rate: true},
		{name: "HTTP/2 over TLS, 8 connections", path: "small", secure: true, ask: ask{conns: 8, h2: true}},
		{name: "WebSocket messages, 64 connections", path: "ws", ask: ask{conns: 64}, ws: true},
		{name: "many routes, 64 connections", path: "small", ask: ask{conns: 64}, routes: true},
	}
}

// Run measures, prints, and fails when a target is missed.
func (c *compareCommand) Run(ctx context.Context) error {
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
	if s.Origin, err = freeAddress(); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	origin := pinned(ctx, otherCore, self, "origin", s.Origin)
	origin.Stderr = os.Stderr
	if err := origin.Start(); err != nil {
		return err
	}
	defer func() {
		origin.Process.Signal(os.Interrupt)
		origin.Wait()
	}()
	if err := awaitOpen(ctx, s.Origin); err != nil {
		return err
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

// found is a proxy on this machine.
type found struct {
	kind   peerKind
	binary string
}

// find looks for the proxies, and names those that are missing.
func (c *compareCommand) find(r *report) (all []found) {
	for _, k := range peerKinds() {
		if k.name != "serai" && len(c.Peers) > 0 && !slices.Contains(c.Peers, k.name) {
			continue
		}
		binary := c.Binary
		if k.name != "serai" {
			var err error
			if binary, err = exec.LookPath(k.name); err != nil {
				r.Missing = append(r.Missing, k.name)
				fmt.Fprintf(os.Stderr, "%s is not on PATH: skipped\n", k.name)
				continue
			}
		}
		out, _ := exec.Command(binary, k.version...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		r.Versions = append(r.Versions, k.name+": "+line)
		all = append(all, found{k, binary})
	}
	return all
}

// usable leaves out the proxies that do not forward with our configuration, a
// new version's for instance, and names them.
func usable(ctx context.Context, kinds []found, s setting, r *report) (all []found, err error) {
	for _, f := range kinds {
		p, err := startPeer(ctx, &f.kind, f.binary, s)
		switch {
		case err == nil:
			p.stop()
			all = append(all, f)
		case f.kind.name == "serai" || ctx.Err() != nil:
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
	var few, many []bench
	for _, b := range benches() {
		_, h2 := findH2load()
		switch {
		case !wanted(c.Only, b.name):
		case b.ask.h2 && !h2:
			fmt.Fprintf(os.Stderr, "h2load is not on PATH: %s is skipped\n", b.name)
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
		for _, secure := range []bool{false, true} {
			if err := c.idle(ctx, kinds, s, secure, r); err != nil {
				return err
			}
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

// measureAll runs benches in rounds, in each of which the proxies take turns.
func (c *compareCommand) measureAll(ctx context.Context, kinds []found, s setting, list []bench, r *report) error {
	if len(list) == 0 {
		return nil
	}
	var peers []*peer
	for i := range kinds {
		p, err := startPeer(ctx, &kinds[i].kind, kinds[i].binary, s)
		if err != nil {
			return err
		}
		defer p.stop()
		peers = append(peers, p)
	}
	for _, p := range peers {
		if err := p.settle(ctx); err != nil {
			return err
		}
	}
	for round := range c.Rounds {
		for i := range list {
			b := &list[i]
			for _, group := range b.groups(peers, round) {
				all, err := c.measure(ctx, group, b, round < c.Latencies, r)
				if err != nil {
					return fmt.Errorf("%s: %w", b.name, err)
				}
				for n, m := range all {
					name := group.peers[n].kind.name
					fmt.Fprintf(os.Stderr, "round %d of %d  %-36s %-8s %9.0f /s  %8.1f us CPU  %d failed\n", round+1, c.Rounds, b.name, name, m.Rate, m.CPU, m.Failed)
					switch {
					case !group.far:
						r.add(b, name, m, nil)
					case name != "serai":
						r.add(b, name, m, &all[0])
					}
				}
			}
		}
	}
	return nil
}

// turnGroup is proxies that take turns with each other. In a far one serai is
// the first.
type turnGroup struct {
	peers []*peer
	far   bool
}

// groups returns those that can be measured: serai with the proxies that are
// near to it, which the targets are about, and serai with the others. Their
// order changes from round to round.
func (b *bench) groups(peers []*peer, round int) []turnGroup {
	near, far := turnGroup{}, turnGroup{far: true}
	for n := range peers {
		p := peers[(n+round)%len(peers)]
		switch {
		case b.secure && !p.kind.secure || b.ask.h2 && !p.kind.h2:
		case p.kind.near:
			near.peers = append(near.peers, p)
		default:
			far.peers = append(far.peers, p)
		}
	}
	serai := slices.IndexFunc(near.peers, func(p *peer) bool { return p.kind.name == "serai" })
	switch {
	case len(far.peers) == 0:
		return []turnGroup{near}
	case serai < 0: // it cannot do this yet
		far.far = false
	default:
		far.peers = slices.Insert(far.peers, 0, near.peers[serai])
	}
	return []turnGroup{near, far}
}

// measured is one proxy under one load.
type measured struct {
	Rate   float64 `json:"per_second"`
	CPU    float64 `json:"cpu_us"` // of the proxy, per request
	RSS    float64 `json:"rss_bytes"`
	Failed int64   `json:"failed"`
	// Latencies are at parts of Rate, in the order of loads, in the rounds that
	// measure them.
	Latencies []latency `json:"latencies,omitempty"`
}

// loads are the parts of what each proxy can at most at which latencies are
// measured.
var loads = [...]float64{0.5, 0.8}

// latency is how long requests took at a rate.
type latency struct {
	Rate float64 `json:"per_second"`
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p999_us"`
}

// paced reports whether the load can come at a rate.
func (b *bench) paced() bool { return !b.ws && !b.ask.h2 }

// measure loads the proxies in turns, and then each one at rates that it can
// keep, where latencies are asked for.
func (c *compareCommand) measure(ctx context.Context, group turnGroup, b *bench, latencies bool, r *report) ([]measured, error) {
	peers := group.peers
	generators, before := make([]*generator, len(peers)), make([]usage, len(peers))
	whole := c.For * time.Duration(len(peers))
	for i, p := range peers {
		a := b.askOf(p)
		a.lasts = whole
		var err error
		if generators[i], err = generatorFor(ctx, a); err != nil {
			return nil, err
		}
		before[i] = p.usage()
	}
	all, err := takeTurns(ctx, generators, whole, turnOf(len(peers), b.ask.conns))
	if err != nil {
		return nil, err
	}
	result := make([]measured, len(peers))
	for i, p := range peers {
		s, after, m := all[i], p.usage(), &result[i]
		if s.Requests == 0 {
			return nil, fmt.Errorf("%s: no request was answered: %s", p.kind.name, s.Cause)
		}
		*m = measured{
			Rate: b.count(s) / s.Seconds, CPU: float64((after.cpu - before[i].cpu).Microseconds()) / b.count(s),
			RSS: float64(after.rss), Failed: s.Failed,
		}
	}
	if !latencies || !b.paced() {
		return result, nil
	}
	for i, p := range peers {
		if group.far && i == 0 {
			continue // serai, whose latencies are measured with the near ones
		}
		for _, load := range loads {
			m, a := &result[i], b.askOf(p)
			a.lasts, a.rate = c.For, min(m.Rate*load, r.LatencyRate)
			s, err := generate(ctx, a)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p.kind.name, err)
			}
			m.Latencies = append(m.Latencies, latency{a.rate, s.P50, s.P99, s.P999})
			m.Failed += s.Failed
		}
	}
	return result, nil
}

// count returns the number of requests. Answers so large that many of them are
// under way at the end count as far as they have come.
func (b *bench) count(s seen) float64 {
	if b.size > 0 && s.Bytes > 0 {
		return float64(s.Bytes) / float64(b.size)
	}
	return float64(s.Requests)
}

// askOf returns what p is asked for.
func (b *bench) askOf(p *peer) ask {
	a := b.ask
	a.url = "http://" + p.setting.Plain + "/" + b.path
	switch {
	case b.ws:
		a.url = "ws://" + p.setting.Plain + "/" + b.path
	case b.secure:
		a.url = "https://" + p.setting.Secure + "/" + b.path
	}
	if b.routes {
		a.hosts = len(p.setting.Hosts)
	}
	return a
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

// writeCertificate makes a self-signed one, ECDSA P-256 as most are.
func writeCertificate(s setting) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"web.loadtest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	if err := os.MkdirAll(filepath.Dir(s.Cert), 0o755); err != nil {
		return err
	}
	for file, text := range map[string][]byte{s.Cert: public, s.Key: secret, s.Pem: append(slices.Clone(public), secret...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
