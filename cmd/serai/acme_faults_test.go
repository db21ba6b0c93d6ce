package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"serai/internal/testnet"
	"serai/nomad"
	"serai/nomad/nomadsim"
	"serai/nomad/nomadtest"
	"serai/tls/acme/acmetest"
)

// obtained returns what a node tells of one host's certificate.
func (n *node) obtained(host string) (next time.Time, failure string, attempts int) {
	o := n.certificates().Obtained
	if o == nil {
		return
	}
	for _, h := range o.Hosts {
		if h.Host == host {
			if h.Next != nil {
				next = *h.Next
			}
			return next, h.Error, h.Attempts
		}
	}
	return
}

// leader returns the node that orders.
func leader(t *testing.T, nodes []*node) (found *node) {
	t.Helper()
	until(t, "a leader", func() bool {
		for _, n := range nodes {
			if o := n.certificates().Obtained; o != nil && o.Leading {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// TestLeaderIsKilledDuringAnOrder: the CA holds an order back, the leader is
// killed, and another one finishes.
func TestLeaderIsKilledDuringAnOrder(t *testing.T) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			var sim *nomadsim.Sim
			var url string
			switch p.name {
			case "simulator":
				sim, url, _ = nomadtest.Simulator(t)
			case "file":
				t.Skip("its one process has no other")
			default:
				if testing.Short() {
					t.Skip("a real lock runs out after 21 s")
				}
				url = nomadtest.Server(t)
			}
			ca := acmetest.New(t, acmetest.Options{})
			file := filepath.Join(t.TempDir(), "services.json")
			first := instance(t, "first", "ingress.host=first.example.org")
			writeServices(t, file, first)
			nodes := newNodes(t, ca, 3)
			for _, n := range nodes {
				n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, file), "--cert-store=nomad")...)
			}
			for _, n := range nodes {
				until(t, "the first certificate", func() bool { return n.serial("first.example.org") != "" })
			}
			before := nodes[0].serial("first.example.org")

			held := make(chan struct{})
			var once sync.Once
			ca.Fail(func(_ http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "finalize-order") {
					once.Do(func() { close(held) })
					<-r.Context().Done()
				}
			})
			writeServices(t, file, first, instance(t, "second", "ingress.host=second.example.org"))
			<-held
			dead := leader(t, nodes)
			dead.cmd.Process.Kill()
			<-dead.ended
			ca.Fail(nil)
			var rest []*node
			for _, n := range nodes {
				if n != dead {
					rest = append(rest, n)
				}
			}
			if sim != nil {
				sim.Advance(22 * time.Second) // twice the lock's TTL, and its delay
			}
			serial := ""
			for _, n := range rest {
				until(t, "the second certificate", func() bool { return n.serial("second.example.org") != "" })
				if got := n.serial("second.example.org"); serial != "" && serial != got {
					t.Error("two certificates are served for one name")
				} else {
					serial = got
				}
				if n.serial("first.example.org") != before {
					t.Error("the first certificate is not what it was")
				}
			}
			if n := ca.Orders("first.example.org"); n != 1 {
				t.Errorf("the first host was ordered %d times", n)
			}
		})
	}
}

// renewing is two serai whose certificate has to be renewed all the time.
type renewing struct {
	sim   *nomadsim.Sim
	url   string
	ca    *acmetest.CA
	nodes []*node
	state string // directory of the nodes' own
}

const renewedHost = "a.example.org"

func newRenewing(t *testing.T) *renewing {
	t.Helper()
	sim, url, _ := nomadtest.Simulator(t)
	r := &renewing{sim: sim, url: url, ca: acmetest.New(t, acmetest.Options{Life: 12 * time.Second}), state: t.TempDir()}
	r.nodes = newNodes(t, r.ca, 2)
	for i, n := range r.nodes {
		n.start([]string{"NOMAD_ADDR=" + url}, r.flags(t, i)...)
	}
	for _, n := range r.nodes {
		until(t, "a certificate", func() bool { return n.serial(renewedHost) != "" })
	}
	return r
}

// flags are those of the i-th node.
func (r *renewing) flags(t *testing.T, i int) []string {
	return append(acmeFlags(r.ca, servicesFile(t, renewedHost)), "--cert-store=nomad", "--state-dir="+filepath.Join(r.state, strconv.Itoa(i)))
}

// TestStoreFailsDuringRenewal takes Nomad away in several ways while short
// certificates have to be renewed: what there is is served, why is told, and the
// renewal follows.
func TestStoreFailsDuringRenewal(t *testing.T) {
	t.Parallel()
	for _, fault := range []struct {
		name    string
		begin   func(sim *nomadsim.Sim) (end func())
		visible string
	}{
		{"away", func(sim *nomadsim.Sim) func() { sim.Partition(true); return func() { sim.Partition(false) } }, "variable"},
		{"403", func(sim *nomadsim.Sim) func() { return injectVariables(sim, nomadsim.Forbidden()) }, "Permission denied"},
		{"500", func(sim *nomadsim.Sim) func() { return injectVariables(sim, nomadsim.NoLeader()) }, "No cluster leader"},
		{"empty", func(sim *nomadsim.Sim) func() { return sim.Inject(nomad.KindVariables, nomadsim.Empty(sim.Index())) }, ""},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			r := newRenewing(t)
			before := r.nodes[0].serial(renewedHost)
			end := fault.begin(r.sim)
			stop := time.Now().Add(8 * time.Second)
			for time.Now().Before(stop) {
				for _, n := range r.nodes {
					if n.serial(renewedHost) == "" {
						t.Fatal("nothing is served")
					}
				}
				time.Sleep(50 * time.Millisecond)
			}
			until(t, "/certificates to say "+fault.visible, func() bool {
				o := r.nodes[0].certificates().Obtained
				return o != nil && strings.Contains(o.Problem, fault.visible)
			})
			end()
			for _, n := range r.nodes {
				until(t, "the renewal", func() bool { s := n.serial(renewedHost); return s != "" && s != before })
			}
		})
	}

	t.Run("a start without Nomad", func(t *testing.T) {
		t.Parallel()
		r := newRenewing(t)
		r.sim.Partition(true)
		defer r.sim.Partition(false)
		n := r.nodes[1]
		until(t, "a copy of this node's own", func() bool {
			copies, _ := filepath.Glob(filepath.Join(r.state, "1", "certificates", "*", "*.json"))
			return len(copies) > 0
		})
		n.kill(syscall.SIGTERM)
		n.run([]string{"NOMAD_ADDR=" + r.url}, r.flags(t, 1)...)
		until(t, "the certificate of this node's copy", func() bool { return n.serial(renewedHost) != "" })
	})
}

// TestRenewalThatTheCADoesNotKnow: a CA that refuses to replace a certificate that
// it does not know gives a new one in the next attempt.
func TestRenewalThatTheCADoesNotKnow(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	_, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{Life: 30 * time.Second})
	n := newNodes(t, ca, 1)[0]
	n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad", "--state-dir="+t.TempDir())...)
	until(t, "a certificate", func() bool { return n.serial(host) != "" })
	before := n.serial(host)
	ca.Fail(acmetest.Forgotten)
	until(t, "a refused renewal", func() bool { return strings.Contains(n.output.String(), "no order for the given certificate") })
	until(t, "the renewal", func() bool { s := n.serial(host); return s != "" && s != before })
	if r := ca.Replacing(); r != 0 {
		t.Errorf("%d orders were accepted that name what they replace", r)
	}
}

// injectVariables makes all requests about variables and locks meet a fault.
func injectVariables(sim *nomadsim.Sim, f nomadsim.Fault) (end func()) {
	var ends []func()
	for _, kind := range []string{nomad.KindVariable, nomad.KindVariables, nomad.KindLock} {
		ends = append(ends, sim.Inject(kind, f))
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// TestDamagedRecords damages what is in the store: what was served stays, and
// is ordered anew where it has to be.
func TestDamagedRecords(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	sim, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	n := newNodes(t, ca, 1)[0]
	n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad")...)
	until(t, "a certificate", func() bool { return n.serial(host) != "" })
	before := n.serial(host)
	client, err := nomad.NewClient(nomad.Options{Address: url})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	var path string
	var items map[string]string
	for key, v := range sim.Variables() {
		if v["crt"] != "" {
			path, items = strings.TrimPrefix(key, "default/"), v
		}
	}
	if !strings.Contains(items["key"], "PRIVATE KEY") {
		t.Fatalf("the store has no key at %q", path)
	}
	delete(items, "key")
	if _, err := client.PutVariable(context.Background(), nomad.Variable{VariableMeta: nomad.VariableMeta{Path: path}, Items: items}); err != nil {
		t.Fatal(err)
	}
	until(t, "a new certificate", func() bool {
		s := n.serial(host)
		if s == "" {
			t.Fatal("nothing is served")
		}
		return s != before
	})
	if !strings.Contains(n.output.String(), "a record in the certificate store cannot be used") {
		t.Error("the log does not tell of the damaged record")
	}

	before = n.serial(host)
	if err := client.DeleteVariable(context.Background(), "default", path); err != nil {
		t.Fatal(err)
	}
	until(t, "one in place of that which was deleted", func() bool { s := n.serial(host); return s != "" && s != before })
}

// TestCAFails has the CA refuse, break and be silent: what there is is served,
// and why there is no more is told.
func TestCAFails(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	file := filepath.Join(t.TempDir(), "services.json")
	all := []nomad.Registration{instance(t, "first", "ingress.host=first.example.org")}
	writeServices(t, file, all...)
	nodes := newNodes(t, ca, 2)
	for _, n := range nodes {
		n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, file), "--cert-store=nomad")...)
		until(t, "a certificate", func() bool { return n.serial("first.example.org") != "" })
	}
	for _, fault := range []struct {
		name, want string
		handler    http.HandlerFunc
	}{
		{"broken", "500", acmetest.Broken},
		{"limited", "rateLimited", acmetest.Limited},
	} {
		t.Run(fault.name, func(t *testing.T) {
			host := fault.name + ".example.org"
			ca.Fail(fault.handler)
			defer ca.Fail(nil)
			all = append(all, instance(t, fault.name, "ingress.host="+host))
			writeServices(t, file, all...)
			for _, n := range nodes { // the one that does not order tells it, too
				until(t, "the failure to be told", func() bool {
					_, failure, attempts := n.obtained(host)
					return attempts > 0 && strings.Contains(failure, fault.want)
				})
				if n.serial("first.example.org") == "" {
					t.Error("the certificate that there is is not served")
				}
				if status, _ := get(n.http, host, "/"); status != 200 {
					t.Errorf("plain HTTP answers %d", status)
				}
			}
			if next, _, _ := nodes[0].obtained(host); fault.name == "limited" && time.Until(next) < 10*time.Minute {
				t.Errorf("a CA that wants no more orders is asked again at %v", next)
			}
		})
	}
	ca.Fail(acmetest.Silent)
	defer ca.Fail(nil)
	for _, n := range nodes {
		if n.serial("first.example.org") == "" {
			t.Error("the certificate that there is is not served while the CA is silent")
		}
	}
	if os.Getenv("SERAI_TEST_LIFE") != "" { // it is given three minutes
		all = append(all, instance(t, "silent", "ingress.host=silent.example.org"))
		writeServices(t, file, all...)
		for began, told := time.Now(), false; !told; time.Sleep(time.Second) {
			_, failure, attempts := nodes[1].obtained("silent.example.org")
			if told = attempts > 0; told {
				t.Logf("after %v it is told why there is no certificate: %s", time.Since(began).Round(time.Second), failure)
			} else if time.Since(began) > 5*time.Minute {
				t.Fatal("nobody tells that the CA is silent")
			}
			if n := nodes[1].serial("first.example.org"); n == "" {
				t.Error("the certificate that there is is not served while the CA is silent")
			}
		}
	}
	if n := metric(nodes[0].admin, `serai_certificates_failing`); n == "0" || n == "" {
		t.Errorf("serai_certificates_failing is %q", n)
	}
}

// TestRenewalsUnderLoad renews short certificates again and again, and makes
// handshakes all the time: each is answered with a certificate that is valid.
func TestRenewalsUnderLoad(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	life, renewals := 36*time.Second, 2 // a third of it is left for a renewal
	if v, err := time.ParseDuration(os.Getenv("SERAI_TEST_LIFE")); err == nil {
		life, renewals = v, 10
	}
	_, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{Life: life})
	nodes := newNodes(t, ca, 3)
	var addresses []string
	for _, n := range nodes {
		n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad")...)
		addresses = append(addresses, n.https)
	}
	for _, n := range nodes {
		until(t, "a certificate", func() bool { return n.serial(host) != "" })
	}
	var made, failed atomic.Int64
	var mu sync.Mutex
	serials := map[string]bool{}
	stop := make(chan struct{})
	var running sync.WaitGroup
	roots := ca.Roots()
	for i := range 6 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				time.Sleep(10 * time.Millisecond) // there are only so many ports
				c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addresses[i%len(addresses)], &tls.Config{ServerName: host, RootCAs: roots})
				made.Add(1)
				if err != nil {
					failed.Add(1)
					t.Errorf("handshake: %v", err)
					continue
				}
				mu.Lock()
				serials[c.ConnectionState().PeerCertificates[0].SerialNumber.String()] = true
				mu.Unlock()
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
				if answer, _ := io.ReadAll(c); !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
					t.Errorf("answer %.40q", answer)
				}
				c.Close()
			}
		})
	}
	for end := time.Now().Add(time.Duration(renewals+3) * life); ; time.Sleep(100 * time.Millisecond) {
		mu.Lock()
		n := len(serials)
		mu.Unlock()
		if n > renewals {
			break
		}
		if time.Now().After(end) {
			t.Errorf("%d renewals, want %d", n-1, renewals)
			break
		}
	}
	close(stop)
	running.Wait()
	t.Logf("%d renewals of certificates of %v: %d handshakes, %d failed; %d orders", len(serials)-1, life, made.Load(), failed.Load(), ca.Orders(host))
	if n := ca.Orders(host); n > len(serials)+1 {
		t.Errorf("%d orders for %d certificates", n, len(serials))
	}
}

// TestRenewOnRequest renews by serai certs renew, lists by serai certs list,
// and refuses hosts that nobody wants.
func TestRenewOnRequest(t *testing.T) {
	const host = "a.example.org"
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			ca := acmetest.New(t, acmetest.Options{})
			env, args, _ := p.open(t)
			n := newNodes(t, ca, 1)[0]
			n.start(env, append(args, acmeFlags(ca, servicesFile(t, host))...)...)
			until(t, "a certificate", func() bool { return n.serial(host) != "" })
			before := n.serial(host)
			command := []string{"certs", "renew", host}
			getenv := func(name string) string {
				for _, e := range env {
					if v, ok := strings.CutPrefix(e, name+"="); ok {
						return v
					}
				}
				return ""
			}
			for _, a := range args {
				if strings.HasPrefix(a, "--cert-store") || strings.HasPrefix(a, "--state-dir") {
					command = append(command, a)
				}
			}
			var out buffer
			ctx, cancel := context.WithTimeout(context.Background(), 2*long)
			defer cancel()
			if err := run(ctx, command, getenv, &out, io.Discard); err != nil {
				t.Fatal(err)
			}
			if n.serial(host) == before {
				t.Error("the certificate is the old one")
			}
			if err := run(ctx, []string{"certs", "list", "--admin=" + n.admin}, getenv, &out, io.Discard); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"asked process", host, "acme:", "Ordered by: process"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the commands print no %q:\n%s", want, out.String())
				}
			}
			command[2] = "other.example.org"
			if err := run(ctx, append(command, "--timeout=10s"), getenv, &out, io.Discard); err == nil || !strings.Contains(err.Error(), "no route wants a certificate for this host") {
				t.Errorf("a request for a host that nobody wants is answered %v", err)
			}
			if ca.Orders("other.example.org") != 0 {
				t.Error("a certificate was ordered for a host that nobody wants")
			}

			// A failure is told to who asked.
			ca.Fail(acmetest.Broken)
			command[2] = host
			if err := run(ctx, command, getenv, &out, io.Discard); err == nil || !strings.Contains(err.Error(), "was not renewed") {
				t.Errorf("a renewal that failed: %v", err)
			}
		})
	}
}

// TestManyNewHosts brings a thousand hosts at once: the CA sees a few orders.
func TestManyNewHosts(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	var hosts []string
	for i := range 1000 {
		hosts = append(hosts, "h"+strconv.Itoa(i)+".example.org")
	}
	file := filepath.Join(t.TempDir(), "services.json")
	var all []nomad.Registration
	web := instance(t, "web")
	for i := 0; i < len(hosts); i += 20 {
		r := web
		r.ServiceName, r.ID = "web"+strconv.Itoa(i), "web"+strconv.Itoa(i)
		r.Tags = []string{"ingress.host=" + strings.Join(hosts[i:i+20], ",")}
		all = append(all, r)
	}
	writeServices(t, file, all...)
	n := newNodes(t, ca, 1)[0]
	n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, file), "--cert-store=nomad")...)
	until(t, "the first certificates", func() bool { return len(n.certificates().Certificates) >= 5 })
	// One more, which is first in order, need not wait for all the others.
	late := web
	late.ServiceName, late.ID, late.Tags = "late", "late", []string{"ingress.host=aaa.example.org"}
	writeServices(t, file, append(all, late)...)
	until(t, "the certificate of another host", func() bool { return n.serial("aaa.example.org") != "" })
	// certmagic lets ten orders begin in ten seconds.
	if got := ca.AllOrders(); got > 60 {
		t.Errorf("%d orders at once", got)
	}
	if o := n.certificates().Obtained; len(o.Hosts) != 1001 {
		t.Errorf("%d hosts want certificates, want 1001", len(o.Hosts))
	}
}

// TestTheCASuggestsARenewal (RFC 9773): it is made, and says what it replaces.
func TestTheCASuggestsARenewal(t *testing.T) {
	t.Parallel()
	const host = "a.example.org"
	_, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	n := newNodes(t, ca, 1)[0]
	env, args := []string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad")
	n.start(env, args...)
	until(t, "a certificate", func() bool { return n.serial(host) != "" })
	before := n.serial(host)
	// A certificate rests for an hour, whatever the CA suggests: who has just
	// started knows nothing of that.
	n.kill(syscall.SIGTERM)
	ca.Suggest()
	n.run(env, args...)
	until(t, "the renewal", func() bool { s := n.serial(host); return s != "" && s != before })
	if !strings.Contains(n.output.String(), "the CA suggests it (RFC 9773)") || ca.Replacing() != 1 {
		t.Errorf("%d orders name what they replace, want 1", ca.Replacing())
	}
	// The new one is renewed when the CA suggests that: in about two thirds of
	// its 90 days.
	until(t, "the CA's suggestion for the new one", func() bool {
		next, _, _ := n.obtained(host)
		return time.Until(next) > 30*24*time.Hour && time.Until(next) < 89*24*time.Hour
	})
	if got := ca.Orders(host); got != 2 {
		t.Errorf("%d orders, want 2", got)
	}
}

// TestWhichHosts: those that routes want, that the operator allows, and that can
// be validated; not those that another namespace owns, nor those that a
// certificate of the operator's covers.
func TestWhichHosts(t *testing.T) {
	t.Parallel()
	sim, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{})
	dir := t.TempDir()
	authority(t).write(t, dir, "given", "given.example.org")
	config := filepath.Join(dir, "serai.hcl")
	if err := os.WriteFile(config, []byte("namespace \"team-a\" {\n  hosts = [\"*.team-a.example.org\"]\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sim.CreateNamespace("team-a")
	register := func(namespace, name string, tags ...string) {
		r := instance(t, name, tags...)
		r.Namespace = namespace
		sim.Register(r)
	}
	register("default", "web", "ingress.host=web.example.org,given.example.org,*.wild.example.org,10.0.0.1,localhost,elsewhere.test")
	register("default", "off", "ingress.host=off.example.org", "ingress.tls=off")
	register("default", "thief", "ingress.host=pay.team-a.example.org")
	register("team-a", "own", "ingress.host=shop.team-a.example.org")
	n := newNodes(t, ca, 1)[0]
	n.start([]string{"NOMAD_ADDR=" + url}, "--acme-email=ops@example.org", "--acme-directory="+ca.Directory, "--acme-ca-root="+ca.RootFile,
		"--cert-store=nomad", "--cert-dir="+dir, "--config="+config, "--acme-hosts=*.example.org")
	for _, host := range []string{"web.example.org", "shop.team-a.example.org"} {
		until(t, "a certificate for "+host, func() bool { return n.serial(host) != "" })
	}
	var wanted []string
	for _, h := range n.certificates().Obtained.Hosts {
		wanted = append(wanted, h.Host)
	}
	if got := strings.Join(wanted, " "); got != "shop.team-a.example.org web.example.org" {
		t.Errorf("certificates are obtained for %s", got)
	}
	if ca.AllOrders() != 2 {
		t.Errorf("%d orders, want 2", ca.AllOrders())
	}
}

// TestAutocert obtains with the other engine.
func TestAutocert(t *testing.T) {
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const host = "a.example.org"
			ca := acmetest.New(t, acmetest.Options{Offer: kind})
			n := newNodes(t, ca, 1)[0]
			args := append(acmeFlags(ca, servicesFile(t, host)), "--acme-engine=autocert", "--no-nomad", "--state-dir="+t.TempDir())
			n.start(nil, args...)
			until(t, "a certificate", func() bool { return n.serial(host) != "" })
			before := n.serial(host)
			n.kill(syscall.SIGTERM)
			n.run(nil, args...)
			until(t, "the certificate after a restart", func() bool { return n.serial(host) != "" })
			if n.serial(host) != before || ca.Orders(host) != 1 {
				t.Errorf("after a restart the certificate is ordered again (%d orders)", ca.Orders(host))
			}
			if n.serial("other.example.org") != "" {
				t.Error("a name that nobody wants got a certificate")
			}
		})
	}
}

// TestExternalAccountAndSeal orders with an account that the CA wants to know,
// and looks that no key is in the store in the clear, nor anywhere else.
func TestExternalAccountAndSeal(t *testing.T) {
	t.Parallel()
	const host, mac = "a.example.org", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	sim, url, _ := nomadtest.Simulator(t)
	ca := acmetest.New(t, acmetest.Options{KeyID: "kid-1", MACKey: mac})
	dir := t.TempDir()
	for name, content := range map[string]string{"mac": mac, "seal": "a secret that is long enough", "other": "another secret that is long"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad", "--acme-eab-key-id=kid-1",
		"--acme-eab-key-file="+filepath.Join(dir, "mac"), "--cert-key-file="+filepath.Join(dir, "seal"), "--log-level=DEBUG", "--state-dir="+filepath.Join(dir, "state"))
	n := newNodes(t, ca, 1)[0]
	n.start([]string{"NOMAD_ADDR=" + url}, args...)
	until(t, "a certificate", func() bool { return n.serial(host) != "" })
	sealed := 0
	for path, items := range sim.Variables() {
		for name, value := range items {
			if strings.Contains(value, "PRIVATE KEY") {
				t.Errorf("%s has a private key in the clear in %s", path, name)
			}
			if strings.HasPrefix(value, "sealed:") {
				sealed++
			}
		}
	}
	if sealed < 4 { // of the certificate, the account and its key, the tickets
		t.Errorf("%d values are sealed", sealed)
	}
	filepath.WalkDir(filepath.Join(dir, "state"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		content, _ := os.ReadFile(path)
		info, _ := e.Info()
		if strings.Contains(string(content), "PRIVATE KEY") || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, or a private key in the clear", path, info.Mode())
		}
		return nil
	})
	for what, text := range map[string]string{"the log": n.output.String(), "/certificates": page(n.admin, "/certificates"), "/metrics": page(n.admin, "/metrics")} {
		for _, secret := range []string{"PRIVATE KEY", mac, "a secret that is long enough"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q", what, secret)
			}
		}
	}
	n.kill(syscall.SIGTERM)
	args[len(args)-3] = "--cert-key-file=" + filepath.Join(dir, "other")
	n.run([]string{"NOMAD_ADDR=" + url}, args...)
	until(t, "a word about the wrong key", func() bool { return strings.Contains(n.output.String(), "encrypted with another key") })
}

func page(address, path string) string {
	_, body := get(address, "", path)
	return body
}

// TestClientCertificates lets clients without a certificate not in, neither by
// another name, nor by none, nor over plain HTTP.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	clients := authority(t)
	clients.write(t, dir, "default", "open.example.org", "closed.example.org") // also for names that nobody has
	clientCert, wrong := clients.issue(t, "client"), authority(t).issue(t, "client")
	caFile := filepath.Join(dir, "clients.pem")
	clients.writeRoot(t, caFile)
	config := filepath.Join(dir, "serai.hcl")
	if err := os.WriteFile(config, []byte("client_certificates {\n  hosts = [\"closed.example.org\"]\n  ca_file = \""+caFile+"\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure, admin := testnet.Address(t), testnet.Address(t), testnet.Address(t)
	start(t, nil, "serve", "--no-nomad", "--services="+servicesFile(t, "open.example.org", "closed.example.org"), "--config="+config,
		"--cert-dir="+dir, "--http="+plain, "--https="+secure, "--admin="+admin, "--drain-delay=0s")
	until(t, "the services", func() bool { status, _ := get(plain, "open.example.org", "/"); return status == 200 })
	ask := func(name, host string, certs ...tls.Certificate) int {
		c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: certs})
		if err != nil {
			return 0
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c)
		if len(answer) < 12 {
			return 0
		}
		status, _ := strconv.Atoi(string(answer[9:12]))
		return status
	}
	for _, c := range []struct {
		what string
		got  int
		want int
	}{
		{"the open host", ask("open.example.org", "open.example.org"), 200},
		{"the closed host without a certificate", ask("closed.example.org", "closed.example.org"), 0},
		{"the closed host with one of another CA", ask("closed.example.org", "closed.example.org", wrong), 0},
		{"the closed host with a certificate", ask("closed.example.org", "closed.example.org", clientCert), 200},
		{"the closed host by the name of the open one", ask("open.example.org", "closed.example.org", clientCert), 421},
		{"the same with a port and in capitals", ask("open.example.org", "CLOSED.example.org.:443", clientCert), 421},
		{"the closed host by no name", ask("", "closed.example.org", clientCert), 421},
		{"the closed host by a name with a port", ask("closed.example.org:443", "closed.example.org:443"), 0},
		{"the closed host by a name with a dot too many", ask("closed.example.org..", "closed.example.org.."), 0},
		{"the closed host by a name with a dot", ask("closed.example.org.", "closed.example.org."), 0},
		{"the closed host by a name in capitals", ask("CLOSED.example.org", "CLOSED.example.org"), 0},
		{"the open host by the name of the closed one", ask("closed.example.org", "open.example.org", clientCert), 421},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", c.what, c.got, c.want)
		}
	}
	// Go's client would leave the dot and the port out: a ticket of the open host
	// is tried for the closed one by hand.
	cache := tls.NewLRUClientSessionCache(1)
	for _, name := range []string{"open.example.org", "closed.example.org:443", "closed.example.org"} {
		c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: name, InsecureSkipVerify: true, ClientSessionCache: one{cache}})
		if err != nil {
			continue
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c)
		c.Close()
		if ok := strings.HasPrefix(string(answer), "HTTP/1.1 200"); ok != (name == "open.example.org") {
			t.Errorf("%s with the ticket of another: %.40q", name, answer)
		}
	}
	if status, _ := get(plain, "closed.example.org", "/"); status != 421 {
		t.Errorf("the closed host over plain HTTP: %d, want 421", status)
	}
}

// one gives the same session to all names.
type one struct{ tls.ClientSessionCache }

func (o one) Get(string) (*tls.ClientSessionState, bool)  { return o.ClientSessionCache.Get("") }
func (o one) Put(_ string, state *tls.ClientSessionState) { o.ClientSessionCache.Put("", state) }

// TestClientCertificatesAndValidation: a CA has no certificate of the client's.
func TestClientCertificatesAndValidation(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"http-01", "tls-alpn-01"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const host = "closed.example.org"
			dir := t.TempDir()
			authority(t).writeRoot(t, filepath.Join(dir, "clients.pem"))
			config := filepath.Join(dir, "serai.hcl")
			if err := os.WriteFile(config, []byte("client_certificates {\n  hosts = [\""+host+"\"]\n  ca_file = \""+filepath.Join(dir, "clients.pem")+"\"\n}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, url, _ := nomadtest.Simulator(t)
			ca := acmetest.New(t, acmetest.Options{Offer: kind})
			n := newNodes(t, ca, 1)[0]
			n.start([]string{"NOMAD_ADDR=" + url}, append(acmeFlags(ca, servicesFile(t, host)), "--cert-store=nomad", "--config="+config)...)
			until(t, "a certificate", func() bool { return len(n.certificates().Certificates) == 1 })
			if ca.Orders(host) != 1 {
				t.Errorf("%d orders, want 1", ca.Orders(host))
			}
		})
	}
}

// TestWrongProtocol: plain HTTP on the TLS port, TLS on the plain one, garbage
// on both, and a flood of names that nobody has.
func TestWrongProtocol(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority(t).write(t, dir, "web", "web.example.org")
	plain, secure, admin := testnet.Address(t), testnet.Address(t), testnet.Address(t)
	start(t, nil, "serve", "--no-nomad", "--services="+servicesFile(t, "web.example.org"), "--cert-dir="+dir,
		"--http="+plain, "--https="+secure, "--admin="+admin, "--drain-delay=0s")
	until(t, "the services", func() bool { status, _ := get(plain, "web.example.org", "/"); return status == 200 })
	talk := func(address, bytes string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(long))
		io.WriteString(c, bytes)
		c.(*net.TCPConn).CloseWrite()
		answer, _ := io.ReadAll(c)
		return string(answer)
	}
	if got := talk(secure, "GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, "this port speaks TLS") {
		t.Errorf("plain HTTP on the TLS port is answered %q", got)
	}
	hello := "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"
	if got := talk(plain, hello); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("TLS on the plain port is answered %q", got)
	}
	for _, garbage := range []string{"", "\x00", hello, "\x16\x03\x01\xff\xff" + strings.Repeat("\x00", 70000), strings.Repeat("\xff", 1<<20), "\x80\x2e\x01\x00\x02"} {
		talk(secure, garbage)
		talk(plain, garbage)
	}
	_, err := tls.Dial("tcp", plain, &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		t.Error("the plain port speaks TLS")
	}
	var flood sync.WaitGroup
	for i := range 8 {
		flood.Go(func() {
			for j := range 100 {
				c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "x" + strconv.Itoa(i*100+j) + ".example.net", InsecureSkipVerify: true})
				if err == nil {
					c.Close()
					t.Error("a name that nobody has got a certificate")
				}
			}
		})
	}
	flood.Wait()
	// A handshake is counted after its client has been told.
	until(t, "800 unknown names", func() bool {
		return metric(admin, "serai_tls_unknown_names_total") == "serai_tls_unknown_names_total 800\n"
	})
	until(t, "800 handshakes in one series", func() bool {
		got := metric(admin, `serai_tls_handshakes_total{result="unknown-name"`)
		return strings.HasSuffix(got, " 800\n") && strings.Count(got, "\n") == 1
	})
	c, err := tls.Dial("tcp", secure, &tls.Config{ServerName: "web.example.org", InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
