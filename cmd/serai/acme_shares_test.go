package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadtest"
	"serai/tls/acme/acmetest"
)

// bogus are hosts of one namespace that lead elsewhere, 100 of a service.
func bogus(t *testing.T, namespace string, count int) (all []nomad.Registration) {
	t.Helper()
	web := instance(t, "bogus")
	for i := 0; i < count; i += 100 {
		var hosts []string
		for j := range min(100, count-i) {
			hosts = append(hosts, fmt.Sprintf("aa%05d.evil.example.org", i+j))
		}
		r := web
		r.Namespace, r.ServiceName, r.ID = namespace, fmt.Sprintf("bogus%d", i), fmt.Sprintf("bogus%d", i)
		r.Tags = []string{"ingress.host=" + strings.Join(hosts, ",")}
		all = append(all, r)
	}
	return all
}

func leadsElsewhere(name string) bool { return strings.HasSuffix(name, ".evil.example.org") }

// TestOneNamespaceTakesNoOthersOrders: one namespace has many hosts that come first
// in the alphabet and fail their validations, or hang in them; strangers flood
// three serai with questions about the tokens of them all. The first order of
// another namespace is among the first, and its validation is answered.
func TestOneNamespaceTakesNoOthersOrders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		hosts int
		hangs bool
	}{{"80 hosts that fail", 80, false}, {"80 hosts that hang", 80, true}, {"10,000 hosts", 10_000, false}} {
		t.Run(c.name, func(t *testing.T) {
			ca := acmetest.New(t, acmetest.Options{Elsewhere: leadsElsewhere})
			if c.hangs {
				hang(t, ca.HTTP)
				hang(t, ca.TLS)
			}
			_, url, _ := nomadtest.Simulator(t)
			good := instance(t, "good", "ingress.host=www.example.net")
			good.Namespace = "good"
			file := t.TempDir() + "/services.json"
			all := bogus(t, "evil", c.hosts)
			writeServices(t, file, all...)
			nodes := newNodes(t, ca, 3)
			for _, n := range nodes {
				n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, file), "--cert-store=nomad")...)
			}
			until(t, "an order of the other namespace", func() bool { return ca.AllOrders() > 5 })
			stop := strangers(t, nodes, c.hosts)
			before, began := ca.AllOrders(), time.Now()
			writeServices(t, file, append(all, good)...)
			for _, n := range nodes {
				until(t, "the certificate of www.example.net", func() bool { return n.serial("www.example.net") != "" })
			}
			orders := ca.AllOrders() - before
			asked := stop()
			t.Logf("served everywhere after %v and %d orders, beside %d questions of strangers", time.Since(began).Round(time.Millisecond), orders, asked)
			if orders > 30 {
				t.Errorf("%d orders were made before that of another namespace was done", orders)
			}
			// The nodes read the file at different moments: the first of two kinds of
			// validation may come to one that does not know the host yet.
			if n := ca.Orders("www.example.net"); n > 2 {
				t.Errorf("the host was ordered %d times", n)
			}
			o := leader(t, nodes).certificates().Obtained
			if o.Budget == nil || o.Budget.Orders.Limit != 300 || o.Budget.Orders.Left >= 300 || o.Budget.Orders.Left < 150 || len(o.Budget.Namespaces) != 2 {
				t.Errorf("the budget is told as %+v", o.Budget)
			}
		})
	}
}

// hang listens where a host that leads elsewhere does, and never answers.
func hang(t *testing.T, like string) {
	_, port, _ := net.SplitHostPort(like)
	l, err := net.Listen("tcp", "127.0.0.9:"+port)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var held []net.Conn
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			held = append(held, c)
			mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
		for _, c := range held {
			c.Close()
		}
	})
}

// strangers ask all nodes for tokens, over HTTP and TLS-ALPN-01, of the hosts of
// bogus, of one that is ordered, and of unknown ones. What it returns stops
// them, and tells how often they asked.
func strangers(t *testing.T, nodes []*node, hosts int) func() int64 {
	stop := make(chan struct{})
	var asked atomic.Int64
	var running sync.WaitGroup
	for i := range 48 {
		running.Go(func() {
			client := &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			defer client.CloseIdleConnections()
			for n := i; ; n += 48 {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				node := nodes[n%len(nodes)]
				host := []string{fmt.Sprintf("aa%05d.evil.example.org", n%hosts), "www.example.net", fmt.Sprintf("u%d.example.com", n)}[n/len(nodes)%3]
				if i%2 == 0 {
					r, _ := http.NewRequest("GET", "http://"+node.http+"/.well-known/acme-challenge/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", nil)
					r.Host = host
					if res, err := client.Do(r); err == nil {
						res.Body.Close()
					}
				} else if c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", node.https,
					&tls.Config{ServerName: host, InsecureSkipVerify: true, NextProtos: []string{"acme-tls/1"}}); err == nil {
					c.Close()
				}
				asked.Add(1)
			}
		})
	}
	var once sync.Once
	end := func() int64 {
		once.Do(func() { close(stop) })
		running.Wait()
		return asked.Load()
	}
	t.Cleanup(func() { end() })
	return end
}
