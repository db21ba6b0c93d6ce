package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul/consulsim"
	"serai/internal/testnet"
)

// TestConnect: a service in Consul's mesh is reached through its sidecar, over HTTP/1 and
// HTTP/2, checks included, as long as no intention denies it; and what denies it is told.
func TestConnect(t *testing.T) {
	t.Parallel()
	onMeshes(t, func(t *testing.T, a meshAgent) {
		var checks, proto2 atomic.Int64
		app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/health" {
				checks.Add(1)
			}
			if r.ProtoMajor == 2 {
				proto2.Add(1)
			}
			fmt.Fprint(w, "hello from behind")
		}))
		app.Config.Protocols = new(http.Protocols)
		app.Config.Protocols.SetHTTP1(true)
		app.Config.Protocols.SetUnencryptedHTTP2(true)
		app.Start()
		t.Cleanup(app.Close)
		local := app.Listener.Addr().String()
		meshed(t, a, "web1", "web", local, "ingress.host=web.example.org", "ingress.connect=on", "ingress.wait=1s")
		meshed(t, a, "h2c1", "h2c", local, "ingress.host=h2c.example.org", "ingress.connect=on", "ingress.scheme=h2c", "ingress.wait=1s")
		meshed(t, a, "checked1", "checked", local, "ingress.host=checked.example.org", "ingress.connect=on", "ingress.check=/health", "ingress.wait=1s")
		// A connection that is open stays open, whatever is denied later: so none is kept.
		_, traffic, admin := meshServe(t, a.url(), "", "--upstream-max-idle=0")
		hosts := map[string]string{"web": "web.example.org", "h2c": "h2c.example.org", "checked": "checked.example.org"}
		for _, host := range hosts {
			until(t, host, func() bool { return answered(traffic, host) == "200 hello from behind" })
		}
		if checks.Load() == 0 || proto2.Load() == 0 {
			t.Errorf("%d checks, %d requests over HTTP/2 came through sidecars", checks.Load(), proto2.Load())
		}
		for service, host := range hosts {
			intend(t, a, service, "deny")
			until(t, "a denial of "+host, func() bool {
				said := answered(traffic, host)
				return strings.HasPrefix(said, "503 ") && strings.Contains(said, "connect-denied") && strings.Contains(said, "an intention denies serai to connect to "+service)
			})
		}
		// A request whose body is streamed is told the same, though it was written to a sidecar
		// that reads nothing of it.
		until(t, "the denial of a POST", func() bool {
			status, said := sendBody(traffic, hosts["web"], 1<<20)
			if status != 503 || !strings.Contains(said, "connect-denied") {
				t.Logf("a POST is answered %d %s", status, said)
			}
			return status == 503 && strings.Contains(said, "connect-denied")
		})
		until(t, "the reason in /instances", func() bool {
			_, body := get(admin, "localhost", "/instances")
			return strings.Contains(body, "an intention denies serai to connect to web")
		})
		for service, host := range hosts {
			intend(t, a, service, "allow")
			until(t, host+" again", func() bool { return answered(traffic, host) == "200 hello from behind" })
		}
		if got := metric(admin, "serai_connect_expiry_timestamp_seconds"); strings.Count(got, "\n") != 2 {
			t.Errorf("the metrics tell the ends %q, want two", got)
		}
	})
}

// sendBody sends a body of that many bytes, and returns what is answered.
func sendBody(traffic, host string, size int) (int, string) {
	r, err := http.NewRequest(http.MethodPost, "http://"+traffic+"/", bytes.NewReader(make([]byte, size)))
	if err != nil {
		return 0, err.Error()
	}
	r.Host, r.Close = host, true
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(body)
}

// fakeSidecar records how each connection begins, and says nothing.
type fakeSidecar struct {
	mu    sync.Mutex
	heads [][]byte
}

func (f *fakeSidecar) serve(t *testing.T, address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				c.SetReadDeadline(time.Now().Add(time.Second))
				head := make([]byte, 4096)
				n, _ := c.Read(head)
				f.mu.Lock()
				f.heads = append(f.heads, head[:n])
				f.mu.Unlock()
			})
		}
	}()
}

// hellos returns how many connections were only opened, and how many began with a ClientHello
// (RFC 8446 section 4.1.2); and one that began with something else.
func (f *fakeSidecar) hellos() (silent, hellos int, other []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, head := range f.heads {
		switch {
		case len(head) == 0:
			silent++
		case len(head) > 5 && head[0] == 22 && head[1] == 3 && head[5] == 1:
			hellos++
		default:
			other = head
		}
	}
	return silent, hellos, other
}

// TestConnectIsNeverPlain: whatever the tags say, nothing but a ClientHello goes to a sidecar,
// and without a certificate of serai's own, nothing.
func TestConnectIsNeverPlain(t *testing.T) {
	t.Parallel()
	kinds := map[string][]string{
		"plain": nil, "checked": {"ingress.check=/health"}, "proxied": {"ingress.proxy-protocol=v1"}, "h2c": {"ingress.scheme=h2c"}, "grpc": {"ingress.scheme=grpc", "ingress.check=grpc:"},
		"https": {"ingress.scheme=https", "ingress.tls-verify=false"}, "two": {"ingress.retries=3", "ingress.timeout=2s"},
	}
	for _, rights := range []bool{true, false} {
		t.Run(fmt.Sprint("with a certificate ", rights), func(t *testing.T) {
			t.Parallel()
			const token = "11111111-2222-3333-4444-555555555555"
			a := simulateMesh(t, consulsim.Options{ACL: true})
			rules := []consulsim.Rule{{Resource: "service_prefix", Policy: "read"}, {Resource: "node_prefix", Policy: "read"}}
			if rights {
				rules = append(rules, consulsim.Rule{Resource: "service", Name: "serai", Policy: "write"})
			}
			a.PutToken(consulsim.Token{Secret: token, Accessor: token, Rules: rules})
			a.PutToken(consulsim.Token{Secret: "manage", Accessor: "manage", Management: true})
			sidecars := make(map[string]*fakeSidecar)
			for service, tags := range kinds {
				sidecar := testnet.Address(t)
				sidecars[service] = &fakeSidecar{}
				sidecars[service].serve(t, sidecar)
				registerMeshed(t, a.url(), "manage", service+"1", service, sidecar, "127.0.0.1:1",
					append([]string{"ingress.host=" + service + ".example.org", "ingress.connect=on", "ingress.wait=200ms"}, tags...)...)
			}
			_, traffic, _ := meshServe(t, a.url(), token)
			for range 3 {
				for service := range kinds {
					status, body := get(traffic, service+".example.org", "/")
					if status < 500 {
						t.Errorf("%s: %d %s", service, status, body)
					}
				}
			}
			if !rights {
				until(t, "the reason", func() bool { return strings.Contains(answered(traffic, "plain.example.org"), "connect-no-identity") })
			}
			for service, f := range sidecars {
				if rights {
					until(t, "a ClientHello to "+service, func() bool { _, hellos, _ := f.hellos(); return hellos > 0 })
				}
				silent, hellos, other := f.hellos()
				if other != nil || !rights && hellos+silent > 0 {
					t.Errorf("%s got %d connections, %d ClientHellos, and this: %q", service, silent+hellos, hellos, other)
				}
			}
		})
	}
}

// TestConnectIdentity: without a certificate the operator is told what to do; with one,
// nothing that the agent does or loses ends what is valid. Whoever else answers is refused.
func TestConnectIdentity(t *testing.T) {
	t.Parallel()
	const token = "11111111-2222-3333-4444-555555555555"
	a := simulateMesh(t, consulsim.Options{ACL: true})
	rules := []consulsim.Rule{{Resource: "service_prefix", Policy: "read"}, {Resource: "node_prefix", Policy: "read"}}
	a.PutToken(consulsim.Token{Secret: token, Accessor: token, Rules: rules})
	a.PutToken(consulsim.Token{Secret: "manage", Accessor: "manage", Management: true})
	a.Intend("serai", "*", true)
	web := instance(t, "web")
	local := net.JoinHostPort(web.Address, fmt.Sprint(web.Port))
	for id, runs := range map[string]string{"web": "web", "strange": "web"} { // the second one is not who it says
		sidecar := testnet.Address(t)
		registerMeshed(t, a.url(), "manage", id+"1", id, sidecar, local, "ingress.host="+id+".example.org", "ingress.connect=on", "ingress.wait=500ms")
		a.sidecar(t, "", runs, sidecar, local)
	}
	_, traffic, admin := meshServe(t, a.url(), token, "--upstream-max-idle=0")
	until(t, "the reason", func() bool {
		status, body := get(traffic, "web.example.org", "/")
		return status == 503 && strings.Contains(body, "connect-no-identity")
	})
	told := func(words string) bool {
		_, body := get(admin, "localhost", "/ready")
		return strings.Contains(body, words)
	}
	until(t, "advice", func() bool { return told(`give the token service \"serai\" { policy = \"write\" }`) })
	a.PutToken(consulsim.Token{Secret: token, Accessor: token, Rules: append(rules, consulsim.Rule{Resource: "service", Name: "serai", Policy: "write"})})
	reached := func(when string) {
		t.Helper()
		until(t, "the service "+when, func() bool { status, _ := get(traffic, "web.example.org", "/"); return status == 200 })
	}
	reached("with the right")
	until(t, "no stranger", func() bool {
		status, body := get(traffic, "strange.example.org", "/")
		return status == 503 && !strings.Contains(body, "hello") || status == 502 && strings.Contains(body, "/svc/web, not of spiffe://")
	})
	a.DeleteToken(token)
	a.RotateRoots()
	until(t, "a complaint about the token", func() bool { return told("of Consul's mesh cannot be renewed since") })
	for range 20 {
		if status, body := get(traffic, "web.example.org", "/"); status != 200 {
			t.Fatalf("without a token: %d %s", status, body)
		}
	}
	a.PutToken(consulsim.Token{Secret: token, Accessor: token, Rules: append(rules, consulsim.Rule{Resource: "service", Name: "serai", Policy: "write"})})
	until(t, "peace", func() bool { return !told("cannot be renewed") })
	renewed := func() string { return metric(admin, `serai_connect_renewals_total{what="certificate"}`) }
	before := renewed()
	// One that ends soon; again, should it have ended before it is read.
	until(t, "a short certificate", func() bool {
		a.RenewLeaf("serai", 20*time.Second)
		time.Sleep(time.Second)
		return renewed() != before
	})
	a.DeleteToken(token)
	until(t, "the end of the certificate", func() bool {
		status, body := get(traffic, "web.example.org", "/")
		return status == 503 && strings.Contains(body, "connect-no-identity")
	})
	a.PutToken(consulsim.Token{Secret: token, Accessor: token, Rules: append(rules, consulsim.Rule{Resource: "service", Name: "serai", Policy: "write"})})
	a.RenewLeaf("serai", 0)
	reached("with a new certificate")
}

// TestConnectWithinTLS: an instance that speaks TLS of its own behind its sidecar is reached
// by both.
func TestConnectWithinTLS(t *testing.T) {
	t.Parallel()
	a := newSimulatedMesh(t)
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, tls.VersionName(r.TLS.Version)) }))
	t.Cleanup(app.Close)
	meshed(t, a, "web1", "web", app.Listener.Addr().String(), "ingress.host=web.example.org", "ingress.connect=on", "ingress.scheme=https", "ingress.tls-verify=false")
	_, traffic, _ := meshServe(t, a.url(), "")
	until(t, "the service", func() bool { return answered(traffic, "web.example.org") == "200 TLS 1.3" })
}

// TestConnectTellsTheClient: the PROXY protocol's header is within the mesh's TLS, for the
// instance.
func TestConnectTellsTheClient(t *testing.T) {
	t.Parallel()
	a := newSimulatedMesh(t)
	l := mustListen(t)
	heads := make(chan []byte, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			head := make([]byte, 4096)
			n, _ := c.Read(head)
			heads <- head[:n]
			c.Close()
		}
	}()
	meshed(t, a, "web1", "web", l.Addr().String(), "ingress.host=web.example.org", "ingress.connect=on", "ingress.proxy-protocol=v1")
	_, traffic, _ := meshServe(t, a.url(), "")
	deadline := time.After(long)
	for {
		get(traffic, "web.example.org", "/")
		select {
		case head := <-heads:
			if bytes.HasPrefix(head, []byte("PROXY TCP4 127.0.0.1 ")) {
				return
			}
		case <-deadline:
			t.Fatal("no header came")
		}
	}
}
