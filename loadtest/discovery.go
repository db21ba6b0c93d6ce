package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"serai/nomad"
)

// discoveryCommand measures how soon serai follows Nomad. The clock starts when the
// event reaches this program on a stream of its own: the time that the agent needs
// before that is not serai's.
type discoveryCommand struct {
	Nomad  string        `help:"A real agent, http://HOST:PORT, with raw_exec; the simulator when empty." placeholder:"ADDR"`
	Consul string        `help:"A real agent of Consul instead, http://HOST:PORT; its token is that of CONSUL_HTTP_TOKEN. The targets are 50ms and 200ms there, unless --p50 and --p99 are given." placeholder:"ADDR"`
	Binary string        `help:"serai; built when empty. A real agent's nodes must have it at this path." placeholder:"PATH"`
	Jobs   int           `default:"50" help:"Services that are started and stopped."`
	P50    time.Duration `help:"Target of the median, registration to first 200: 25ms."`
	P99    time.Duration `help:"Target of the 99th percentile: 100ms."`
	Late   time.Duration `default:"10ms" help:"Target: after a deregistration no request goes there later than this."`
}

// Run measures, prints, and fails when a target is missed.
func (c *discoveryCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.Consul != "" {
		c.P50, c.P99 = cmp.Or(c.P50, 50*time.Millisecond), cmp.Or(c.P99, 200*time.Millisecond)
		return c.runInConsul(ctx)
	}
	c.P50, c.P99 = cmp.Or(c.P50, 25*time.Millisecond), cmp.Or(c.P99, 100*time.Millisecond)
	var services cluster
	address := c.Nomad
	if c.Nomad == "" {
		sim, url, err := startSimulator(ctx)
		if err != nil {
			return err
		}
		services, address = sim, url
	} else {
		if c.Binary == "" {
			return errors.New("--nomad needs --binary: the path of serai on the nodes")
		}
		services = &agent{address: c.Nomad, token: os.Getenv("NOMAD_TOKEN"), binary: c.Binary}
	}
	serai, err := startSerai(ctx, c.Binary, address)
	if err != nil {
		return err
	}
	defer serai.stop()
	events, err := watch(ctx, address)
	if err != nil {
		return err
	}
	m := &measurement{ctx: ctx, services: services, serai: serai, events: events}
	for i := range c.Jobs {
		if err := m.one("loadtest-" + strconv.Itoa(i)); err != nil {
			return err
		}
		if (i+1)%10 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d services\n", i+1, c.Jobs)
		}
	}
	return c.report(m)
}

// watch subscribes to the events of services.
func watch(ctx context.Context, address string) (<-chan nomad.Batch, error) {
	client, err := nomad.NewClient(nomad.Options{Address: address, Token: os.Getenv("NOMAD_TOKEN")})
	if err != nil {
		return nil, err
	}
	stream, err := client.Stream(ctx, nomad.DefaultNamespace, 0)
	if err != nil {
		return nil, err
	}
	batches := make(chan nomad.Batch, 1024)
	go func() {
		for {
			b, err := stream.Next()
			if err != nil {
				close(batches)
				return
			}
			batches <- b
		}
	}()
	return batches, nil
}

// measurement collects what was seen.
type measurement struct {
	ctx      context.Context
	services cluster
	serai    *ingress
	events   <-chan nomad.Batch
	// first200 is from the event, or from when the instance's port was open if
	// that was later. last is how long after the event of a deregistration the
	// last request was sent that reached the instance; 0 when none was.
	first200, last []time.Duration
	requests       int
	failed         int
}

// await waits for an event of a service.
func (m *measurement) await(service string, deleted bool) (nomad.Event, time.Time, error) {
	timeout := time.After(time.Minute)
	for {
		select {
		case b, ok := <-m.events:
			if !ok {
				return nomad.Event{}, time.Time{}, errors.New("the event stream ended")
			}
			for _, e := range b.Events {
				if e.Registration.ServiceName == service && e.Deleted == deleted {
					return e, b.Received, nil
				}
			}
		case <-timeout:
			return nomad.Event{}, time.Time{}, fmt.Errorf("no event of %s within a minute", service)
		case <-m.ctx.Done():
			return nomad.Event{}, time.Time{}, m.ctx.Err()
		}
	}
}

// one runs a service of two instances, takes one out, and stops it.
func (m *measurement) one(service string) error {
	host := service + ".loadtest"
	answers := make(chan reply, 1<<16)
	asking, enough := context.WithCancel(m.ctx)
	defer enough()
	go m.ask(asking, host, answers)
	if err := m.services.start(m.ctx, service, 2); err != nil {
		return err
	}
	defer m.services.stop(service)
	first, at, err := m.await(service, false)
	if err != nil {
		return err
	}
	open, err := untilOpen(m.ctx, first.Registration)
	if err != nil {
		return err
	}
	if open.After(at) {
		at = open
	}
	a, err := m.until(answers, func(a reply) bool { return a.status == 200 })
	if err != nil {
		return err
	}
	m.first200 = append(m.first200, a.came.Sub(at))

	second, _, err := m.await(service, false)
	if err != nil {
		return err
	}
	alloc := second.Registration.AllocID
	if _, err := m.until(answers, func(a reply) bool { return a.alloc == alloc }); err != nil {
		return err
	}
	if err := m.services.leave(m.ctx, second.Registration); err != nil {
		return err
	}
	_, gone, err := m.await(service, true)
	if err != nil {
		return err
	}
	last := time.Duration(0)
	_, err = m.until(answers, func(a reply) bool {
		if a.alloc == alloc {
			last = max(last, a.sent.Sub(gone))
		}
		return a.sent.Sub(gone) > 300*time.Millisecond
	})
	m.last = append(m.last, last)
	return err
}

// ask sends one request after the other, about one each millisecond.
func (m *measurement) ask(ctx context.Context, host string, answers chan<- reply) {
	client := newClient(m.serai.address)
	for ctx.Err() == nil {
		a := client.get(host, "/")
		select {
		case answers <- a:
		case <-ctx.Done():
		}
		time.Sleep(time.Until(a.sent.Add(time.Millisecond)))
	}
}

// until reads answers up to the first one that is meant. Once a service has answered,
// every other answer is a failure.
func (m *measurement) until(answers <-chan reply, meant func(reply) bool) (reply, error) {
	timeout := time.After(time.Minute)
	known := false
	for {
		select {
		case a := <-answers:
			m.requests++
			known = known || a.status == 200
			if known && a.status != 200 {
				m.failed++
			}
			if meant(a) {
				return a, nil
			}
		case <-timeout:
			return reply{}, errors.New("serai did not follow within a minute")
		case <-m.ctx.Done():
			return reply{}, m.ctx.Err()
		}
	}
}

// untilOpen waits until an instance accepts connections.
func untilOpen(ctx context.Context, r nomad.Registration) (time.Time, error) {
	address := net.JoinHostPort(r.Address, strconv.Itoa(r.Port))
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(500 * time.Microsecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			c.Close()
			return time.Now(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%s does not accept connections", address)
}

// report prints the distributions and judges them.
func (c *discoveryCommand) report(m *measurement) error {
	var j judged
	j.line("registration to first 200, median", percentile(m.first200, 50), c.P50)
	j.line("registration to first 200, 99th percentile", percentile(m.first200, 99), c.P99)
	j.line("deregistration to last request, largest", percentile(m.last, 100), c.Late)
	return j.requests(len(m.first200), m)
}

// judged has the targets that were missed.
type judged []error

// line prints what was measured beside its target.
func (j *judged) line(what string, got, want time.Duration) {
	verdict := "met"
	if got > want {
		verdict = "missed"
		*j = append(*j, fmt.Errorf("%s is %v, want at most %v", what, got, want))
	}
	fmt.Printf("%-56s %10v   target %8v   %s\n", what, got.Round(10*time.Microsecond), want, verdict)
}

// requests prints how many failed, and returns all that was missed.
func (j *judged) requests(services int, m *measurement) error {
	fmt.Printf("%d services, %d requests, %d failed after the first 200\n", services, m.requests, m.failed)
	if m.failed > 0 {
		*j = append(*j, fmt.Errorf("%d requests failed", m.failed))
	}
	return errors.Join(*j...)
}

// percentile returns the smallest value that p percent are not above.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	i := int(float64(len(sorted))*p/100+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
