package discovery_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/consul"
	"serai/consul/consulsim"
	"serai/discovery"
)

// large is an agent with services of one instance, and of one sidecar where they are meshed,
// whose answers have much that is of no use: in the meta of what is registered.
type large struct {
	*simulatedConsul
	index  atomic.Int64
	change chan struct{} // closed when all services have changed
	waits  atomic.Int64  // queries
	now    atomic.Int64  // answers of which all but the end has been read
	most   atomic.Int64  // of these at once
	whole  atomic.Int64  // of these so far
}

func largeConsul(t *testing.T, services, size int, meshed bool) *large {
	a := &large{simulatedConsul: &simulatedConsul{Sim: consulsim.New(consulsim.Options{}), t: t, wrap: narrow}, change: make(chan struct{})}
	a.start()
	t.Cleanup(func() { a.stop() })
	a.index.Store(1000)
	tags := []string{ours}
	if meshed {
		tags = append(tags, "ingress.connect=on")
	}
	for n := range services {
		name := fmt.Sprint("s", n)
		reg := consulsim.Registration{Node: "n1", Address: nodeAddress, Service: &consulsim.Service{ID: name, Service: name, Tags: tags, Port: 80}}
		if _, err := a.Register(reg); err != nil {
			t.Fatal(err)
		}
	}
	filler := []byte(strings.Repeat("x", size))
	answer := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Query().Get("index") == fmt.Sprint(a.index.Load()) {
			a.waits.Add(1)
			select {
			case <-a.change:
			case <-r.Context().Done():
				return
			}
		}
		kind, name := r.URL.Path[len("/v1/health/"):], r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		service := fmt.Sprintf(`"ID":"%s","Service":"%s","Tags":["%s"],"Port":80`, name, name, strings.Join(tags, `","`))
		if strings.HasPrefix(kind, "connect") {
			service = fmt.Sprintf(`"ID":"%s-sidecar","Service":"%s-sidecar","Kind":"connect-proxy","Proxy":{"DestinationServiceName":"%s"},"Port":81`, name, name, name)
		}
		w.Header().Set("X-Consul-Index", fmt.Sprint(a.index.Load()))
		fmt.Fprintf(w, `[{"Node":{"Node":"n1","Address":"10.0.0.1"},"Service":{%s,"CreateIndex":1,"ModifyIndex":1,"Meta":{"filler":"`, service)
		if _, err := w.Write(filler); err != nil {
			return // it is not read
		}
		now := a.now.Add(1)
		for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
		}
		for range 100 { // in which others may be read as well, until it is not wanted any more
			if time.Sleep(3 * time.Millisecond); a.now.Load() > 3 || r.Context().Err() != nil {
				break
			}
		}
		a.now.Add(-1)
		a.whole.Add(1)
		fmt.Fprint(w, `"}}}]`)
	}
	a.Inject("health/service", answer)
	a.Inject("health/connect", answer)
	return a
}

// narrow has what is written wait until it is read: the kernel keeps little of it.
func narrow(l net.Listener) net.Listener { return narrowListener{l} }

type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// heap is how many KiB are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc >> 10)
}

func followLarge(t *testing.T, a *simulatedConsul) *watch {
	return followConsul(t, a.url, discovery.ConsulOptions{
		Client: newConsulClient(t, consul.Options{Address: a.url, Limits: consul.Limits{Answer: 2 << 20, Request: 5 * time.Minute}}),
	})
}

// TestConsulKeepsNoLists: while a change of services is waited for, nothing is kept of how they
// were listed but what their instances need, also of those in the mesh.
func TestConsulKeepsNoLists(t *testing.T) {
	const services = 20
	a := largeConsul(t, services, 200<<10, true)
	runtime.GC()
	before := heap()
	w := followLarge(t, a.simulatedConsul)
	w.until("life", live)
	w.until("all queries that wait", func(discovery.Status) bool { return a.waits.Load() >= 2*services })
	runtime.GC()
	if kept := heap() - before; kept > 2*services*200/2 {
		t.Errorf("of %d KiB of lists %d are kept", 2*services*200, kept)
	}
}

// TestConsulLargeServicesAtOnce: services that are many and large are not read at the same time,
// so that together they take no more memory than one.
func TestConsulLargeServicesAtOnce(t *testing.T) {
	const services = 6
	a := largeConsul(t, services, 1<<20, false)
	w := followLarge(t, a.simulatedConsul)
	w.until("life", live)
	if most := a.most.Load(); most > 2 { // one that is applied, and one that is read
		t.Errorf("%d services of 1 MiB each are read at once", most)
	}
}

// TestConsulLargeChanges: that is so when all of them change.
func TestConsulLargeChanges(t *testing.T) {
	const services = 4
	a := largeConsul(t, services, 1<<20, true)
	w := followLarge(t, a.simulatedConsul)
	w.until("life", live)
	w.until("all queries that wait", func(discovery.Status) bool { return a.waits.Load() >= 2*services })
	a.index.Add(1)
	close(a.change)
	w.until("all of them again", func(discovery.Status) bool { return a.whole.Load() >= 4*services })
	if most := a.most.Load(); most > 2 {
		t.Errorf("%d lists of 1 MiB each are read at once", most)
	}
}
