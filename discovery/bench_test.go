package discovery_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
	"serai/nomad/nomadsim"
)

// BenchmarkColdStart reads 10,000 services of three instances from a
// simulated agent, without a cache.
func BenchmarkColdStart(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	sim := nomadsim.New(nomadsim.Options{})
	var regs []nomad.Registration
	for i := range 10_000 {
		for j := range 3 {
			regs = append(regs, reg(fmt.Sprint("service-", i), fmt.Sprint(i, "-", j)))
		}
	}
	sim.Load(regs...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go sim.Run(ctx, l)
	for b.Loop() {
		client, err := nomad.NewClient(nomad.Options{Address: "http://" + l.Addr().String()})
		if err != nil {
			b.Fatal(err)
		}
		watchers, err := discovery.NewWatchers(discovery.WatcherOptions{Client: client})
		if err != nil {
			b.Fatal(err)
		}
		run, stop := context.WithCancel(ctx)
		out := make(chan *discovery.Snapshot)
		ended := make(chan struct{})
		go func() { watchers[0].Run(run, out); close(ended) }()
		select {
		case s := <-out:
			if len(s.Services) != 10_000 {
				b.Fatalf("%d services", len(s.Services))
			}
		case <-time.After(time.Minute):
			b.Fatal("no snapshot within a minute")
		}
		stop()
		<-ended
		client.CloseIdleConnections()
	}
}
