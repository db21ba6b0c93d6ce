package discovery_test

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// TestLargeServicesAtOnce: services that are many and large are not read at the same time, so
// that together they take no more memory than one.
func TestLargeServicesAtOnce(t *testing.T) {
	const services, large = 40, 1 << 20
	a := newAgent(t, nomadsim.Options{})
	for i := range services {
		a.Load(reg(fmt.Sprint("s", i), fmt.Sprint("i", i)))
	}
	filler := []byte(strings.Repeat("x", 1<<20))
	var most atomic.Int64
	a.Inject(nomad.KindService, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		w.Header().Set("X-Nomad-Index", "1000")
		w.Header().Set("X-Nomad-KnownLeader", "true")
		w.Header().Set("X-Nomad-LastContact", "0")
		fmt.Fprintf(w, `[{"ID":"i%s","ServiceName":"%s","Namespace":"default","Address":"10.0.0.1","Port":80,"CreateIndex":1,"ModifyIndex":1,"Tags":["ingress.host=%s.test"`, name[1:], name, name)
		for range large >> 20 {
			fmt.Fprint(w, `,"`)
			if _, err := w.Write(filler); err != nil {
				return // it is not read
			}
			fmt.Fprint(w, `"`)
		}
		fmt.Fprint(w, `]}]`)
	})
	defer debug.SetGCPercent(debug.SetGCPercent(20))
	runtime.GC()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	end := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case <-time.After(5 * time.Millisecond):

				most.Store(max(most.Load(), heap()-before))
			}
		}
	}()
	w := nomadWatch(t, a, discovery.WatcherOptions{
		Client: newClient(t, nomad.Options{Address: a.url, Limits: nomad.Limits{Answer: 2 << 20, Request: 5 * time.Minute}}),
		Store:  discovery.NewStore(discovery.Bounds{Bytes: discovery.Bound{Namespace: 4 << 20, Total: 8 << 20}}),
	})
	w.until("life", live)
	close(end)
	<-ended
	t.Logf("%d MiB at most", most.Load()>>20)
	if most.Load() > 24<<20 {
		t.Errorf("%d services of %d MiB each take %d MiB", services, large>>20, most.Load()>>20)
	}
}
