package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"time"

	"serai/hello"
)

// inConsul measures how soon serai follows a real agent of Consul. The clock starts when the
// request that changes something there is sent to the agent: what Consul itself needs is
// counted in.
type inConsul struct {
	ctx    context.Context
	agent  string // http://HOST:PORT
	token  string
	client *http.Client
	serai  *ingress
	asked  *measurement
	// registered are from a registration as passing to the first 200 of a service that was not
	// known before; passing from when one more instance of it turns passing to its first 200;
	// critical is how long after that turned critical the last request was sent that reached it.
	registered, passing, critical []time.Duration
}

// runInConsul measures, prints, and fails when a target is missed.
func (c *discoveryCommand) runInConsul(ctx context.Context) error {
	token := os.Getenv("CONSUL_HTTP_TOKEN")
	serai, err := startSerai(ctx, c.Binary, "", "--no-nomad", "--consul="+c.Consul)
	if err != nil {
		return err
	}
	defer serai.stop()
	m := &inConsul{ctx: ctx, agent: c.Consul, token: token, client: &http.Client{}, serai: serai, asked: &measurement{ctx: ctx, serai: serai}}
	defer m.client.CloseIdleConnections()
	for i := range c.Jobs {
		if err := m.one("loadtest-" + strconv.Itoa(i)); err != nil {
			return err
		}
		if (i+1)%50 == 0 {
			fmt.Fprintf(os.Stderr, "%d of %d services\n", i+1, c.Jobs)
		}
	}
	var j judged
	for _, of := range []struct {
		what string
		all  []time.Duration
	}{{"registration as passing to first 200", m.registered}, {"an instance turns passing to its first 200", m.passing}} {
		j.line(of.what+", median", percentile(of.all, 50), c.P50)
		j.line(of.what+", 99th percentile", percentile(of.all, 99), c.P99)
	}
	j.line("it turns critical to last request, median", percentile(m.critical, 50), c.P50)
	j.line("it turns critical to last request, 99th pct.", percentile(m.critical, 99), c.P99)
	return j.requests(len(m.registered), m.asked)
}

// one registers a service with one instance, has a second one turn passing and critical, and
// deregisters both.
func (m *inConsul) one(service string) error {
	ctx, end := context.WithCancel(m.ctx)
	defer end()
	first, err := m.instance(ctx, service, "1")
	if err != nil {
		return err
	}
	second, err := m.instance(ctx, service, "2")
	if err != nil {
		return err
	}
	answers := make(chan reply, 1<<16)
	go m.asked.ask(ctx, service+".loadtest", answers)
	at := time.Now()
	if err := m.register(first, "passing"); err != nil {
		return err
	}
	defer m.deregister(first)
	a, err := m.asked.until(answers, func(a reply) bool { return a.status == 200 })
	if err != nil {
		return err
	}
	m.registered = append(m.registered, a.came.Sub(at))

	if err := m.register(second, "critical"); err != nil {
		return err
	}
	defer m.deregister(second)
	// As long as others have been there before they turn passing.
	time.Sleep(200 * time.Millisecond)
	at = time.Now()
	if err := m.put("/v1/agent/check/pass/service:"+second.id, nil); err != nil {
		return err
	}
	a, err = m.asked.until(answers, func(a reply) bool { return a.alloc == second.id })
	if err != nil {
		return err
	}
	m.passing = append(m.passing, a.came.Sub(at))

	at = time.Now()
	if err := m.put("/v1/agent/check/fail/service:"+second.id, nil); err != nil {
		return err
	}
	last := time.Duration(0)
	_, err = m.asked.until(answers, func(a reply) bool {
		if a.alloc == second.id {
			last = max(last, a.sent.Sub(at))
		}
		return a.sent.Sub(at) > last+300*time.Millisecond
	})
	m.critical = append(m.critical, last)
	return err
}

// inConsulInstance is one that runs in this process.
type inConsulInstance struct {
	service, id string
	at          netip.AddrPort
}

// instance runs one until ctx ends.
func (m *inConsul) instance(ctx context.Context, service, number string) (inConsulInstance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return inConsulInstance{}, err
	}
	i := inConsulInstance{service, service + "-" + number, netip.MustParseAddrPort(l.Addr().String())}
	go hello.Serve(ctx, l, hello.Options{Name: service, Alloc: i.id})
	return i, nil
}

// register registers it at the agent, with a check that others report.
func (m *inConsul) register(i inConsulInstance, state string) error {
	return m.put("/v1/agent/service/register", map[string]any{
		"ID": i.id, "Name": i.service, "Tags": tags(i.service), "Address": i.at.Addr().String(), "Port": i.at.Port(),
		"Check": map[string]any{"TTL": "1h", "Status": state},
	})
}

// deregister is also for the end, when the context has ended.
func (m *inConsul) deregister(i inConsulInstance) {
	ended := *m
	ended.ctx = context.WithoutCancel(m.ctx)
	if err := ended.put("/v1/agent/service/deregister/"+i.id, nil); err != nil {
		fmt.Fprintln(os.Stderr, "loadtest: left registered:", i.id, err)
	}
}

// put changes something at the agent.
func (m *inConsul) put(path string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	if in == nil {
		body = nil
	}
	ctx, cancel := context.WithTimeout(m.ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, m.agent+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("X-Consul-Token", m.token)
	res, err := m.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 500))
	if res.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("PUT %s: %s: %s", path, res.Status, text))
	}
	return err
}
