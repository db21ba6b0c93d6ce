package admin_test

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"serai/admin"
	"serai/discovery"
	"serai/router"
)

// TestScrapesWhileTablesChange requests everything while services come, go and are
// called. A histogram never contradicts itself, and a counter never decreases.
func TestScrapesWhileTablesChange(t *testing.T) {
	source := &sources{}
	n := newNode(t, admin.Options{Sources: []admin.Reporter{source}}, router.Options{Linger: time.Hour})
	n.probe()
	n.set("stays", instance("ingress.host=stays.example.org"))
	stats := n.stats("stays")
	call(stats, 200)
	stop := make(chan struct{})
	var running sync.WaitGroup
	loop := func(f func(i int)) {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					f(i)
				}
			}
		})
	}
	loop(func(i int) {
		name := fmt.Sprintf("s%d", i%7)
		if n.set(name); i%3 > 0 {
			n.set(name, instance(fmt.Sprintf("ingress.host=h%d.example.org", i%11), "ingress.bad=1"))
		}
		n.set("stays", instance("ingress.host=stays.example.org", fmt.Sprintf("ingress.x%d.host=x.example.org", i%5)))
		source.set(discovery.Status{Source: "nomad *", Phase: []discovery.Phase{discovery.Live, discovery.Stale}[i%2]})
	})
	loop(func(i int) { call(stats, 200+100*(i%4)) })
	for _, path := range []string{"/routes", "/instances", "/rejections", "/explain?host=h1.example.org", "/ready"} {
		loop(func(int) {
			if status, body := n.get(path); status != 200 {
				t.Errorf("%s answered %d %s", path, status, body)
			}
		})
	}
	var watch sync.WaitGroup
	for range 2 {
		watch.Go(func() {
			last := make(map[string]float64)
			for range 10 {
				check(t, n.scrape(), last)
			}
		})
	}
	watch.Wait()
	close(stop)
	running.Wait()
}

// check checks one scrape, and compares it with the one before.
func check(t *testing.T, families map[string]*dto.MetricFamily, last map[string]float64) {
	found := false
	for _, m := range families["serai_request_duration_seconds"].GetMetric() {
		h, below := m.Histogram, uint64(0)
		for _, b := range h.Bucket {
			if b.GetCumulativeCount() < below {
				t.Errorf("the histogram falls: %v", h)
			}
			below = b.GetCumulativeCount()
		}
		if below != h.GetSampleCount() {
			t.Errorf("the histogram has %d in its buckets, and counts %d", below, h.GetSampleCount())
		}
	}
	for _, m := range families["serai_requests_total"].GetMetric() {
		key, v := fmt.Sprint(m.Label), m.Counter.GetValue()
		if v < last[key] {
			t.Errorf("%s went from %v back to %v", key, last[key], v)
		}
		last[key] = v
		for _, l := range m.Label {
			found = found || l.GetValue() == "stays"
		}
	}
	if !found {
		t.Error("the counters of a service that lives have vanished")
	}
}

// TestRowsMakeLittleGarbage: a row of the list of routes is found in a flat struct. A template that looks for fields of
// embedded ones allocates 330 times.
func TestRowsMakeLittleGarbage(t *testing.T) {
	n := large(t, 1000)
	page := func(rows int) float64 {
		return testing.AllocsPerRun(5, func() { n.get(fmt.Sprintf("/ui/routes?limit=%d", rows)) })
	}
	if each := (page(1000) - page(500)) / 500; each > 200 {
		t.Errorf("a row takes %.0f allocations, want at most 200", each)
	}
}

// large makes a node with that many services of three instances, all called.
func large(b testing.TB, services int) *node {
	n := newNode(b, admin.Options{}, router.Options{})
	for i := range services {
		key := discovery.Key{Namespace: "default", Name: fmt.Sprintf("service-%d", i)}
		s := &discovery.Service{Key: key}
		for j := range 3 {
			s.Instances = append(s.Instances, &discovery.Instance{
				ID: fmt.Sprintf("%s-%d", key.Name, j), Service: key.Name, Namespace: key.Namespace, Alloc: fmt.Sprintf("alloc-%d-%d", i, j),
				Address: fmt.Sprintf("10.%d.%d.%d", j, i>>8, i&255), Port: 80, Created: 1, Modified: 1,
				Tags: []string{fmt.Sprintf("ingress.host=service-%d.example.org", i)},
			})
		}
		n.known[key] = s
	}
	n.publish()
	for _, r := range n.router.Current().Routes() {
		call(r.Stats, 200)
	}
	return n
}

// BenchmarkLarge is the cost of pages with 10,000 services of 3 instances, when every
// service has been called.
func BenchmarkLarge(b *testing.B) {
	n := large(b, 10_000)
	for _, path := range []string{"/metrics", "/routes", "/instances", "/rejections", "/ready", "/api/v1/instances", "/ui/overview", "/ui/routes", "/ui/routes?limit=1000", "/ui/instances"} {
		for _, encoding := range []string{"identity", "gzip"} {
			if encoding == "gzip" && path != "/metrics" {
				continue
			}
			b.Run(path[1:]+"-"+encoding, func(b *testing.B) {
				b.ReportAllocs()
				var size int64
				for b.Loop() {
					r, err := http.NewRequest("GET", n.url+path, nil)
					if err != nil {
						b.Fatal(err)
					}
					r.Header.Set("Accept-Encoding", encoding)
					res, err := http.DefaultClient.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					if size, err = io.Copy(io.Discard, res.Body); err != nil {
						b.Fatal(err)
					}
					res.Body.Close()
				}
				b.ReportMetric(float64(size)/1e6, "MB")
			})
		}
	}
}
