package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// tenantsAttacks are made with registrations: every author of a job can make them.
func tenantsAttacks() []attack {
	return append(quotaAttacks(), append(probeAttacks(), addressAttacks()...)...)
}

// manyHosts are 64 routes of 128 hosts and 8 paths.
func manyHosts(generation int) (tags []string) {
	for r := range 64 {
		var hosts []string
		for h := range 128 {
			hosts = append(hosts, fmt.Sprintf("h%d.r%d.g%d.loadtest", h, r, generation))
		}
		p := fmt.Sprintf("ingress.r%d.", r)
		tags = append(tags, p+"host="+strings.Join(hosts, ","), p+"path=/0,/1,/2,/3,/4,/5,/6,/7")
	}
	return tags
}

// manyConditions are 64 routes of a host, each with a condition of its own.
func manyConditions(host string, i int) (tags []string) {
	for r := range 64 {
		p := fmt.Sprintf("ingress.r%d.", r)
		tags = append(tags, p+"host="+host, fmt.Sprintf("%sheader=X-%d: %d", p, i, r))
	}
	return tags
}

// quotaAttacks use up tables, and the time to build them.
func quotaAttacks() []attack {
	return []attack{
		{name: "tags", who: "tenant", what: "three registrations with 282 KB of tags", before: "the process was killed",
			begin: func(a *arena) (func(), error) { a.registerLargeTags(); return nil, nil },
			outcome: func(a *arena) (string, error) {
				return fmt.Sprintf("rejections that name the quota, %.0f MiB resident", mib(a.rss())), a.refused("--max-")
			}},
		{name: "claims", who: "tenant", what: "one registration of 64 routes, 128 hosts and 8 paths", before: "65,536 routes, 69 MB",
			begin: func(a *arena) (func(), error) {
				a.register(evil, "big", 0, "127.0.0.1", 9, manyHosts(0)...)
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				err := a.refused("--max-claims-service")
				return fmt.Sprintf("%.0f routes in all, the rest is rejected", a.metric("serai_routes")), err
			}},
		{name: "churn", who: "tenant", what: "five deploys of it, each with new hosts", before: "327,681 routes, 361 MB",
			begin: func(a *arena) (func(), error) {
				last := ""
				for g := range 5 {
					id := a.register(evil, "big", g, "127.0.0.1", 9, manyHosts(g)...)
					if last != "" {
						a.sim.Deregister(evil, last)
					}
					last = id
					if _, err := a.until("change", func() bool { return strings.Contains(a.adminPage("/routes"), fmt.Sprintf(".g%d.loadtest", g)) }); err != nil {
						return nil, err
					}
				}
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				lingering := a.metric("serai_routes_lingering")
				if lingering > 1000 {
					return "", fmt.Errorf("%.0f routes linger", lingering)
				}
				return fmt.Sprintf("%.0f routes, of which %.0f linger, %.0f MiB resident", a.metric("serai_routes"), lingering, mib(a.rss())), nil
			}},
		{name: "conditions", who: "tenant", what: "128 instances with 64 conditional routes on `*`", before: "1 ms for each request of every host",
			begin: func(a *arena) (func(), error) {
				for i := range 128 {
					a.register(evil, "conditional", i, "127.0.0.1", 9, manyConditions("*", i)...)
				}
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				return "a host is compared with its holder's conditions alone", a.refused("--max-conditions-service")
			}},
		{name: "build", who: "tenant", what: "512 instances with 64 conditions", before: "others' changes came 1.5 s later",
			begin: func(a *arena) (func(), error) {
				for i := range 512 {
					a.register(evil, "costly", i, "127.0.0.1", 9, manyConditions("costly.loadtest", i)...)
				}
				return nil, nil
			},
			outcome: changeOfAnother},
	}
}

// changeOfAnother registers an instance of another tenant, and says how soon it is
// served.
func changeOfAnother(a *arena) (string, error) {
	i, err := a.start("late", "ingress.host=late.loadtest", "ingress.check=/healthz")
	if err != nil {
		return "", err
	}
	defer i.kill()
	client := newClient(a.address())
	took, err := a.until("answer of another tenant's new instance", func() bool { return client.get("late.loadtest", "/").status == 200 })
	return fmt.Sprintf("another tenant's new instance, with a check, is served after %d ms", took.Milliseconds()), err
}

// probeAttacks use up the time of the prober.
func probeAttacks() []attack {
	return []attack{
		{name: "tarpit", who: "tenant", what: "300 instances with `check-timeout=10m` that never answer", before: "nobody else's checks",
			begin: func(a *arena) (func(), error) {
				tarpit, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
				if err != nil {
					return nil, err
				}
				for i := range 300 {
					a.register(evil, "tarpit", i, "127.0.0.1", portNumber(tarpit), "ingress.host=tarpit.loadtest", fmt.Sprintf("ingress.check=/%d", i), "ingress.check-timeout=10m")
				}
				return func() { tarpit.Close() }, nil
			},
			outcome: changeOfAnother},
		func() attack {
			var asked atomic.Int64
			return attack{name: "probes", who: "tenant", what: "60 registrations of one address, checked every 100 ms", before: "595 requests a second from each node",
				begin: func(a *arena) (func(), error) {
					l, err := net.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						return nil, err
					}
					server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })}
					go server.Serve(l)
					for i := range 60 {
						a.register(evil, "probed", i, "127.0.0.1", portNumber(l), "ingress.host=probed.loadtest", "ingress.check=/", "ingress.check-interval=100ms")
					}
					if _, err := a.until("check", func() bool { return asked.Load() > 0 }); err != nil {
						return nil, err
					}
					asked.Store(0)
					return func() { server.Close() }, nil
				},
				outcome: func(*arena) (string, error) {
					rate := float64(asked.Load()) / 5 // the bystander has asked for so long
					if rate > 60 {
						return "", fmt.Errorf("%.0f requests a second", rate)
					}
					return fmt.Sprintf("%.1f requests a second", rate), nil
				}}
		}(),
		{name: "checks", who: "tenant", what: "256 checks answered by 1 MiB each", before: "the process was killed",
			begin: func(a *arena) (func(), error) { a.registerLargeChecks(); return nil, nil },
			outcome: func(a *arena) (string, error) {
				if !a.alive() {
					return "", fmt.Errorf("serai does not answer")
				}
				return fmt.Sprintf("a check reads the head of an answer; %.0f MiB resident", mib(a.rss())), nil
			}},
	}
}

func portNumber(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// specialAddresses are addresses of metadata services, and others that no instance may have.
var specialAddresses = []string{"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
	"::169.254.169.254", "::ffff:169.254.169.254", "0.0.0.1", "240.0.0.1"}

// addressAttacks concern what a tenant may name: an address, a host, a path.
func addressAttacks() []attack {
	return []attack{
		{name: "admin", who: "tenant", what: "an instance at `127.0.0.1` and serai's admin port", before: "strangers read metrics and profiles through port 80",
			begin: func(a *arena) (func(), error) {
				_, port, _ := net.SplitHostPort(a.admin)
				n, _ := strconv.Atoi(port)
				a.register(evil, "admin", 0, "127.0.0.1", n, "ingress.host=admin.loadtest")
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				if err := a.refused("admin"); err != nil {
					return "", err
				}
				if got := newClient(a.address()).get("admin.loadtest", "/metrics").status; got == 200 {
					return "", fmt.Errorf("a stranger reads metrics")
				}
				return "a rejection", nil
			}},
		{name: "metadata", who: "tenant", what: fmt.Sprintf("instances at %d spellings of metadata services and other special addresses", len(specialAddresses)), before: "strangers read credentials",
			begin: func(a *arena) (func(), error) {
				for i, address := range specialAddresses {
					a.register(evil, fmt.Sprintf("metadata%d", i), 0, address, 80, fmt.Sprintf("ingress.host=metadata%d.loadtest", i))
				}
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				for i := range specialAddresses {
					if err := a.refused(fmt.Sprintf("metadata%d", i)); err != nil {
						return "", fmt.Errorf("%s: %w", specialAddresses[i], err)
					}
				}
				return "a rejection of each", nil
			}},
		{name: "theft", who: "tenant", what: "a path, method, header, priority, wildcard and `*` on another's host", before: "took requests, and certificates elsewhere",
			begin: func(a *arena) (func(), error) {
				web := a.instances[0].reg
				for i, tag := range []string{"path=/login", "path=/.well-known/acme-challenge", "method=GET", "header=Accept", "priority=1"} {
					a.register(evil, fmt.Sprintf("thief%d", i), 0, web.Address, web.Port, "ingress.host=bystander.loadtest", "ingress."+tag)
				}
				a.register(evil, "thief-all", 0, web.Address, web.Port, "ingress.host=*,*.loadtest", "ingress.priority=1")
				return nil, nil
			},
			outcome: func(a *arena) (string, error) {
				if err := a.refused("thief0", "thief1", "thief2", "thief3", "thief4"); err != nil {
					return "", err
				}
				holder := newClient(a.address()).get("bystander.loadtest", "/").alloc
				for _, path := range []string{"/login", "/", "/other"} {
					if got := newClient(a.address()).get("bystander.loadtest", path).alloc; got == a.instances[0].reg.AllocID || path == "/" && got != holder {
						return "", fmt.Errorf("%s goes to another namespace", path)
					}
				}
				return "rejections that name the holder, who gets all requests", nil
			}},
		{name: "ready", who: "tenant", what: "`host=*` where a balancer asks for the ready path without a Host", before: "200 from the tenant, also in a drain",
			begin: func(a *arena) (func(), error) {
				web := a.instances[0].reg
				a.register(evil, "ready", 0, web.Address, web.Port, "ingress.host=*")
				_, err := a.until("route", func() bool { return newClient(a.address()).get("nobodys.loadtest", "/").status == 200 })
				return nil, err
			},
			outcome: func(a *arena) (string, error) {
				for _, host := range []string{"", "Host: 10.0.0.1:\r\n", "Host: 10.0.0.1.\r\n"} {
					if answer := page(a.address(), "GET /.serai/ready HTTP/1.0\r\n"+host+"\r\n"); !strings.Contains(answer, " 200 ") || strings.Contains(answer, "allocation") {
						return "", fmt.Errorf("with %q the answer is %q", host, answer)
					}
				}
				return "serai answers", nil
			}},
	}
}

// registerLargeTags registers three services with 282 KB of tags.
func (a *arena) registerLargeTags() {
	for i := range 3 {
		var tags []string
		for r := range 64 {
			var hosts []string
			for h := range 128 {
				hosts = append(hosts, fmt.Sprintf("h%d-%d-%d.large-tags.example.org", i, r, h))
			}
			tags = append(tags, fmt.Sprintf("ingress.r%d.host=%s", r, strings.Join(hosts, ",")))
		}
		a.register(evil, fmt.Sprintf("large-%d", i), 0, "127.0.0.1", 9, tags...)
	}
}

// registerLargeChecks registers 256 instances whose checks are answered by 1 MiB.
func (a *arena) registerLargeChecks() {
	web := a.instances[0].reg
	for i := range 256 {
		a.register(evil, "checked", i, web.Address, web.Port, "ingress.host=checked.loadtest", "ingress.check=/bytes/1048576?"+strconv.Itoa(i), "ingress.check-interval=1s")
	}
	time.Sleep(2 * time.Second) // two rounds of them
}
