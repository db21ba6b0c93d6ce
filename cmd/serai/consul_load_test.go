package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul"
	"serai/hello"
	"serai/internal/consulagent"
	"serai/internal/testnet"
	"serai/nomad"
)

// consulLoad is three real servers of Consul that deny by default, a serai that follows one
// of them with a token of its own, and clients that ask all the time.
type consulLoad struct {
	t       *testing.T
	whole   *testing.T // that of all parts
	agents  []*consulagent.Agent
	traffic string
	admin   string
	made    int
}

const (
	loadManagement = "0e7c0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d55"
	loadSecret     = "5a3e0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d56"
)

// loadRequests is how many requests each fault lasts at least: SERAI_TEST_REQUESTS, or enough
// for every day.
func loadRequests() int64 {
	if n, err := strconv.Atoi(os.Getenv("SERAI_TEST_REQUESTS")); err == nil {
		return int64(n)
	}
	return 500
}

func newConsulLoad(t *testing.T) *consulLoad {
	if testing.Short() {
		t.Skip("real servers take seconds: not with -short")
	}
	l := &consulLoad{t: t, whole: t, traffic: testnet.Address(t), admin: testnet.Address(t)}
	var join []string
	for i := range 3 {
		a := consulagent.New(t, consulagent.Config{Node: fmt.Sprintf("server%d", i), Servers: 3, Token: loadManagement, Join: join})
		join = append(join, a.Serf)
		l.agents = append(l.agents, a)
	}
	for _, a := range l.agents {
		a.Start(t)
	}
	l.agents[0].AwaitLeader(t)
	l.accepted("/v1/acl/policy", map[string]any{"Name": "serai", "Rules": (&consul.AccessError{}).Policy()})
	l.grant()
	return l
}

// serve starts serai, which follows the first agent.
func (l *consulLoad) serve() {
	start(l.t, map[string]string{"CONSUL_HTTP_TOKEN": loadSecret}, "serve", "--no-nomad", "--consul="+l.agents[0].URL,
		"--http="+l.traffic, "--admin="+l.admin, "--drain-delay=0s")
	until(l.t, "readiness", func() bool { status, _ := get(l.traffic, "127.0.0.1", "/.serai/ready"); return status == 200 })
}

// accepted changes Consul, at any server that takes the change.
func (l *consulLoad) accepted(path string, body any) {
	l.t.Helper()
	until(l.t, "a server that takes "+path, func() bool {
		for _, a := range l.agents {
			if status, answer := a.Put(l.t, path, body); status == http.StatusOK || strings.Contains(answer, "in use") || strings.Contains(answer, "already exists") {
				return true
			}
		}
		return false
	})
}

func (l *consulLoad) grant() {
	l.accepted("/v1/acl/token", map[string]any{"SecretID": loadSecret, "AccessorID": "6b3e0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d57", "Policies": []map[string]string{{"Name": "serai"}}})
}

func (l *consulLoad) revoke() {
	until(l.t, "a token that is gone", func() bool {
		r, err := http.NewRequest(http.MethodDelete, l.agents[0].URL+"/v1/acl/token/6b3e0c5e-6b0b-4f0b-9a3e-3f2b8a1c7d57", nil)
		if err != nil {
			return false
		}
		r.Header.Set("X-Consul-Token", loadManagement)
		r.Close = true
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// put registers an instance, with a check in that state.
func (l *consulLoad) put(r nomad.Registration, state string) {
	l.accepted("/v1/catalog/register", map[string]any{
		"Node": "n1", "Address": "192.0.2.1", "SkipNodeUpdate": true,
		"Service": map[string]any{"ID": r.ID, "Service": r.ServiceName, "Tags": r.Tags, "Address": r.Address, "Port": r.Port},
		"Check":   map[string]any{"Node": "n1", "CheckID": "service:" + r.ID, "Name": "works", "Status": state, "ServiceID": r.ID},
	})
}

// maintain begins maintenance of an instance, or ends it.
func (l *consulLoad) maintain(r nomad.Registration, on bool) {
	check := map[string]any{"Node": "n1", "CheckID": "_service_maintenance:" + r.ID, "Name": "Service Maintenance Mode", "Status": consul.Critical, "ServiceID": r.ID}
	if on {
		l.accepted("/v1/catalog/register", map[string]any{"Node": "n1", "Address": "192.0.2.1", "SkipNodeUpdate": true, "Check": check})
	} else {
		l.accepted("/v1/catalog/deregister", map[string]any{"Node": "n1", "CheckID": "_service_maintenance:" + r.ID})
	}
}

func (l *consulLoad) deregister(r nomad.Registration) {
	l.accepted("/v1/catalog/deregister", map[string]any{"Node": "n1", "ServiceID": r.ID})
}

// run runs an instance, until end.
func (l *consulLoad) run(service, host string) (r nomad.Registration, end func()) {
	l.t.Helper()
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	l.made++
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		hello.Serve(ctx, port, hello.Options{Name: service, Alloc: fmt.Sprint(l.made), ShutdownTimeout: time.Second})
		close(ended)
	}()
	end = sync.OnceFunc(func() { cancel(); <-ended })
	l.whole.Cleanup(end)
	return nomad.Registration{ID: fmt.Sprintf("%s-%d", service, l.made), ServiceName: service, Tags: []string{"ingress.host=" + host}, Address: "127.0.0.1", Port: port.Addr().(*net.TCPAddr).Port}, end
}

// knows waits until serai has so many instances that are ready.
func (l *consulLoad) knows(n int) {
	l.t.Helper()
	body := ""
	defer func() {
		if l.t.Failed() {
			l.t.Logf("/instances says %s", body)
		}
	}()
	until(l.t, fmt.Sprintf("%d ready instances", n), func() bool {
		_, body = get(l.admin, "localhost", "/instances?service=web")
		return strings.Count(body, `"state": "ready"`) == n && strings.Count(body, `"state"`) == n
	})
}

// under repeats a fault until enough requests were answered; none may fail.
func (l *consulLoad) under(fault func()) {
	l.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	defer clients.Wait()
	defer cancel()
	var good, bad atomic.Int64
	var first atomic.Pointer[string]
	for range 4 {
		client := &http.Client{Transport: &http.Transport{}}
		clients.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				r, _ := http.NewRequest(http.MethodGet, "http://"+l.traffic+"/", nil)
				r.Host = "web.example.org"
				said := ""
				if res, err := client.Do(r); err != nil {
					said = err.Error()
				} else {
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode == http.StatusOK && err == nil {
						good.Add(1)
						continue
					}
					said = fmt.Sprint(res.StatusCode, " ", string(body), err)
				}
				bad.Add(1)
				first.CompareAndSwap(nil, &said)
			}
		})
	}
	rounds := 0
	for rounds == 0 || good.Load()+bad.Load() < loadRequests() {
		fault()
		rounds++
	}
	cancel()
	clients.Wait()
	if bad.Load() > 0 {
		l.t.Errorf("%d of %d requests failed in %d rounds, the first one: %s", bad.Load(), good.Load()+bad.Load(), rounds, *first.Load())
	}
	l.t.Logf("%d requests in %d rounds, %d failed", good.Load()+bad.Load(), rounds, bad.Load())
}

// TestConsulUnderLoad: whatever happens to instances and to Consul, no request fails.
func TestConsulUnderLoad(t *testing.T) {
	l := newConsulLoad(t)
	a, endA := l.run("web", "web.example.org")
	b, _ := l.run("web", "web.example.org")
	l.put(a, consul.Passing)
	l.put(b, consul.Passing)
	l.serve()
	l.knows(2)
	part := func(name string, fault func()) {
		t.Run(name, func(t *testing.T) {
			l.t = t
			defer func() { l.t = t }()
			l.under(fault)
		})
		l.t = t
	}
	part("rolling deploys", func() {
		next, end := l.run("web", "web.example.org")
		l.put(next, consul.Passing)
		l.knows(3)
		l.deregister(a)
		endA()
		a, endA = next, end
		l.knows(2)
	})
	part("an instance is killed", func() {
		endA() // Consul learns of it later
		l.put(a, consul.Critical)
		l.deregister(a)
		l.knows(1)
		a, endA = l.run("web", "web.example.org")
		l.put(a, consul.Passing)
		l.knows(2)
	})
	part("maintenance", func() {
		l.maintain(b, true)
		until(l.t, "the maintenance", func() bool {
			_, body := get(l.admin, "localhost", "/explain?host=web.example.org")
			return strings.Contains(body, "maintenance in Consul")
		})
		l.maintain(b, false)
		l.knows(2)
	})
	stale := func() {
		until(l.t, "a word about it", func() bool {
			_, body := get(l.admin, "localhost", "/ready")
			return strings.Contains(body, "consul: stale since")
		})
	}
	live := func() {
		until(l.t, "life", func() bool {
			_, body := get(l.admin, "localhost", "/ready")
			return strings.Contains(body, `"phase": "live"`)
		})
	}
	part("the agent is killed and comes back", func() {
		l.agents[0].Kill()
		stale()
		l.agents[0].Start(l.t)
		live()
	})
	part("another leader", func() {
		l.agents[0].AwaitLeader(l.t)
		leader := l.leader()
		l.agents[leader].Kill()
		until(l.t, "another leader", func() bool { next := l.leader(); return next >= 0 && next != leader })
		l.deregister(a) // as the new leader knows it
		l.put(a, consul.Passing)
		l.agents[leader].Start(l.t)
		live()
		l.knows(2)
	})
	part("the token is revoked and restored", func() {
		l.revoke()
		// A query that waits is not ended by that: it is noticed with the next one, which
		// another registration brings about.
		noticed, _ := l.run("other", "other.example.org")
		l.put(noticed, consul.Passing)
		stale()
		l.grant()
		live()
	})
}

// leader is which of the agents leads, -1 for none that is known.
func (l *consulLoad) leader() int {
	for _, asked := range l.agents {
		res, err := http.Get(asked.URL + "/v1/status/leader")
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		for i, a := range l.agents {
			if strings.Trim(strings.TrimSpace(string(text)), `"`) == fmt.Sprintf("127.0.0.1:%d", a.Server) {
				return i
			}
		}
	}
	return -1
}
