package proxy_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"serai/proxy"
)

// TestFloodOfRefusalsInTheLog: requests that policies refuse have few lines, which say how
// many there were; those of other routes, and those that the instances refuse, have all.
func TestFloodOfRefusalsInTheLog(t *testing.T) {
	var w record
	l := proxy.NewAccessLog(&w, 1)
	l.Refused = 5
	ctx, cancel := context.WithCancel(context.Background())
	var logging sync.WaitGroup
	logging.Go(func() { l.Run(ctx) })
	i := newPageServer(t, sends("HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n"))
	n := newPlaces(t, proxy.Options{Log: l.Log}, nil,
		place{"limited", i.address, []string{"ingress.host=" + host, "ingress.path=/limited", "ingress.rate=1/h", "ingress.rate-burst=1"}},
		place{"denied", i.address, []string{"ingress.host=" + host, "ingress.path=/denied", "ingress.deny=127.0.0.0/8"}},
		place{"open", i.address, []string{"ingress.host=" + host}},
	)
	e := &memory{proxy: n.proxy}
	const many = 300
	ask := func(target string, times int) {
		for range times {
			answered(t, e.open(t, request{method: "GET", target: target}), map[string]int{"/denied": 403}[target]+map[bool]int{true: 429}[target != "/denied"], "*")
		}
	}
	ask("/limited", 1+many)
	ask("/denied", 1)
	ask("/open", 50)
	until(t, "the last line", func() bool { return n.proxy.Inflight() == 0 })
	cancel()
	logging.Wait()
	lines := make(map[string]int)
	told := 0
	for text := range strings.Lines(w.text()) {
		var line struct {
			Path      string
			NotLogged int `json:"not_logged"`
			Reason    string
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		lines[line.Path+" "+line.Reason]++
		told += line.NotLogged
	}
	if lines["/limited "] != 1 || lines["/denied ip-denied"] != 1 || lines["/open "] != 50 {
		t.Errorf("the lines are %v", lines)
	}
	// There are as many seconds as the machine takes.
	if got := lines["/limited rate-limited"]; got < 5 || got+int(l.Skipped()) != many || told > int(l.Skipped()) {
		t.Errorf("%d lines, %d skipped, of which lines tell %d", got, l.Skipped(), told)
	}
}
