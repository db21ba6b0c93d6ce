package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// proxy is what an episode tests: serai, or in tests a faulty one.
type proxy interface {
	// at returns the addresses of plain HTTP and of HTTPS.
	at() (plain, secure string)
	start(ctx context.Context) error
	// end ends it with a signal, and returns with what error it ended.
	end(signal syscall.Signal, within time.Duration) error
	alive() bool
	// hangup makes it read its config file again.
	hangup()
	// metrics are nil where there are none.
	metrics() (map[string]float64, error)
	// rejections are the refused tags by service.
	rejections() (map[string]string, error)
	descriptors() int
	// members returns the state of the instances, nil if it is unknown.
	members() ([]member, error)
	said() string
}

var _ proxy = (*process)(nil)

func (s *process) at() (plain, secure string) { return s.plain, s.secure }
func (s *process) said() string               { return s.stderr.String() }

// maker makes the proxy of an episode, which has not been started.
type maker func(p *Program, c *cluster, dir string) (proxy, error)

// episode is a program that runs.
type episode struct {
	*Program
	cluster *cluster
	ledger  *ledger
	proxy   proxy
	// before is what the proxy held when it was ready.
	before holdings
	// restarted says that the proxy was restarted, so that its counters began anew.
	restarted bool
	// died says that it ended by itself, which explains all failures.
	died bool
	// looks are what the proxy said about its instances meanwhile.
	looks looks
	// settle is how long the proxy may take to release what it holds.
	settle time.Duration
	mu     sync.Mutex // one restart at a time
	// One change of the config file at a time, and no restart meanwhile.
	reloading sync.Mutex
}

// holdings are what a process has open.
type holdings struct{ descriptors, goroutines, inflight float64 }

// play runs a program and returns the broken promises. Its error means that the trial
// itself failed.
func play(ctx context.Context, p *Program, prepare maker) (found []Finding, said string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	certificates := filepath.Join(dir, "certificates")
	if err := os.Mkdir(certificates, 0o700); err != nil {
		return nil, "", err
	}
	certificate, err := makeCertificate(certificates)
	if err != nil {
		return nil, "", err
	}
	l := newLedger(p)
	done := ctx.Done()
	go l.watchTime(done)
	e := &episode{Program: p, ledger: l, settle: 10 * time.Second}
	if e.cluster, err = newCluster(ctx, p, l, dir, certificate); err != nil {
		return nil, "", err
	}
	defer e.cluster.close()
	if e.proxy, err = prepare(p, e.cluster, certificates); err != nil {
		return nil, "", err
	}
	if err := e.run(ctx); err != nil {
		return l.found(), e.proxy.said(), err
	}
	return l.found(), e.proxy.said(), nil
}

func (e *episode) run(ctx context.Context) error {
	plain, secure := e.proxy.at()
	e.cluster.self = plain
	for _, s := range e.Services {
		for own := range s.Own {
			if err := e.cluster.start(ctx, s, own); err != nil {
				return err
			}
		}
	}
	if err := e.cluster.writeFile(); err != nil {
		return err
	}
	defer e.proxy.end(syscall.SIGKILL, time.Second)
	if err := e.proxy.start(ctx); err != nil {
		return err
	}
	e.awaitInstances(ctx)
	e.judgeTags()
	e.before = e.holds()

	over := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() { e.sample(over) })
	sampling.Go(func() { e.watchMembers(over) })
	var work sync.WaitGroup
	for _, f := range e.Faults {
		work.Go(func() { e.fail(ctx, f) })
	}
	for _, c := range e.Clients {
		work.Go(func() { c.run(ctx, plain, secure, e.ledger) })
	}
	work.Wait()
	close(over)
	sampling.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e.judgeEnd()
	// What is left of instances would be noted while it is judged.
	e.cluster.close()
	e.judgeRequests()
	e.judgeQueues()
	e.judgeShares()
	e.judgeSticky()
	e.judgeWaitingBytes()
	e.judgeRates()
	return nil
}

// awaitInstances waits until serai knows all instances and has probed them.
func (e *episode) awaitInstances(ctx context.Context) {
	want := 0.0
	self := false
	for _, s := range e.Services {
		want += float64(len(s.Own))
		self = self || s.Flavour == Self
	}
	var m map[string]float64
	var err error
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); wait(ctx, 20*time.Millisecond) {
		m, err = e.proxy.metrics()
		if m == nil && err == nil {
			return
		}
		if err == nil && sum(m, "serai_instances") >= want && sum(m, "serai_endpoints", `state="probing"`) == 0 {
			return
		}
	}
	if !self && e.Files == 0 && ctx.Err() == nil {
		e.ledger.find("readiness", "", "after 6 s: %v instances known of %v, %v not ready; %v", sum(m, "serai_instances"), want, sum(m, "serai_endpoints", `state="probing"`), err)
	}
}

// sample checks how many descriptors the process has while it works. A client's request
// needs a few; a loop would take all there are.
func (e *episode) sample(over <-chan struct{}) {
	// A request that comes back passes serai up to nine times (--max-hops).
	most := int(e.before.descriptors) + 22*len(e.Clients) + 100
	for {
		select {
		case <-over:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if n := e.proxy.descriptors(); e.before.descriptors > 0 && n > most {
			e.ledger.find("no loops", "", "%d descriptors for %d clients, %v at the start", n, len(e.Clients), e.before.descriptors)
			return
		}
	}
}

// judgeTags compares the tags that were refused with those that are wrong.
func (e *episode) judgeTags() {
	refused, err := e.proxy.rejections()
	if err != nil || refused == nil {
		return
	}
	for _, s := range e.Services {
		switch why, is := refused[s.Name]; {
		case is && !e.cluster.rules[s.Name].refused && s.Flavour != Self:
			e.ledger.find("only wrong tags are refused", s.Name, "%s", why)
		case !is && e.cluster.rules[s.Name].refused && e.cluster.rules[s.Name].class == "": // another class is another serai's to judge
			e.ledger.find("only wrong tags are refused", s.Name, "a wrong tag was taken")
		}
	}
}

// holds asks what the proxy has open. One goroutine and one connection belong to this
// request.
func (e *episode) holds() holdings {
	m, err := e.proxy.metrics()
	if err != nil || m == nil {
		return holdings{}
	}
	return holdings{float64(e.proxy.descriptors()), sum(m, "go_goroutines"), sum(m, "serai_requests_in_flight")}
}

// judgeEnd checks what is left over, whether counters add up, and how the process ends.
func (e *episode) judgeEnd() {
	if !e.proxy.alive() {
		err := e.proxy.end(syscall.SIGTERM, time.Second)
		e.died = true
		e.ledger.find("the process lives", "", "serai has ended: %v: %s", err, firstLines(e.proxy.said()))
		return
	}
	// Changed instances may be asked how they are just now.
	slack := float64(3 + len(e.Faults))
	for _, s := range e.Services {
		slack += float64(len(s.Own))
	}
	var now holdings
	for end := time.Now().Add(e.settle); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if now = e.holds(); now.inflight == 0 && now.descriptors <= e.before.descriptors+slack && now.goroutines <= e.before.goroutines+2*slack {
			break
		}
	}
	switch {
	case now.inflight != 0:
		e.ledger.find("nothing left over", "", "%v requests in flight %v after the last client", now.inflight, e.settle)
	case now.descriptors > e.before.descriptors+slack:
		e.ledger.find("nothing left over", "", "%v descriptors, %v at the start", now.descriptors, e.before.descriptors)
	case now.goroutines > e.before.goroutines+2*slack:
		e.ledger.find("nothing left over", "", "%v goroutines, %v at the start", now.goroutines, e.before.goroutines)
	}
	if m, err := e.proxy.metrics(); err != nil {
		e.ledger.find("the process lives", "", "/metrics does not answer: %v", err)
	} else if m != nil && !e.restarted {
		e.judgeCounters(m)
	}
	if err := e.proxy.end(syscall.SIGTERM, 8*time.Second); err != nil {
		e.ledger.find("the process lives", "", "it ended with: %v: %s", err, firstLines(e.proxy.said()))
	}
	for _, word := range []string{"panic", "fatal error", "runtime error", "goroutine 1"} {
		if said := e.proxy.said(); strings.Contains(said, word) {
			e.ledger.find("the process lives", "", "%q on standard error: %s", word, firstLines(said[strings.Index(said, word):]))
			break
		}
	}
}

// firstLines shortens what a process said.
func firstLines(s string) string {
	lines := strings.SplitN(s, "\n", 13)
	return strings.Join(lines[:min(len(lines), 12)], "\n    ")
}

// restart ends serai and starts it again.
func (e *episode) restart(ctx context.Context, signal syscall.Signal) error {
	e.reloading.Lock() // it does not start with a config file that is wrong
	defer e.reloading.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.restarted = true
	if !e.proxy.alive() {
		return nil // which is found at the end
	}
	if err := e.proxy.end(signal, 8*time.Second); err != nil && signal == syscall.SIGTERM {
		e.ledger.find("the process lives", "", "it ended with: %v", err)
	}
	if err := e.proxy.start(ctx); err != nil && ctx.Err() == nil {
		return errors.Join(fmt.Errorf("after %v", signal), err)
	}
	return nil
}
