package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"serai/discovery"
	"serai/nomad"
)

// phase runs one, and tells what it cost.
func (f *flock) phase(name string, run func() error) error {
	before, usedBefore := f.counts(), usageOf(f.serai.cmd.Process.Pid)
	began := time.Now()
	ctx, stop := context.WithCancel(f.ctx)
	peak := make(chan int)
	go func() { peak <- f.busiest(ctx) }()
	f.found = append(f.found, scaled{Phase: name})
	err := run()
	stop()
	s := &f.found[len(f.found)-1]
	s.Peak = <-peak
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s.Seconds = time.Since(began).Seconds()
	s.Requests = make(map[string]int)
	total := 0
	for kind, n := range f.counts() {
		if n -= before[kind]; n > 0 {
			s.Requests[kind] = n
			total += n
		}
	}
	used := usageOf(f.serai.cmd.Process.Pid)
	s.CPU, s.RSS = float64((used.cpu-usedBefore.cpu).Milliseconds())/s.Seconds, used.rss
	each := float64(total) / float64(len(f.all)+1)
	fmt.Printf("%-24s %6.1f s  %8d requests, %6.1f of each serai, at most %6d in a second; one serai: %.1f ms CPU a second, %.0f MiB\n",
		name, s.Seconds, total, each, s.Peak, s.CPU, mib(s.RSS))
	if s.LagMax > 0 {
		fmt.Printf("%24s a change reached a watcher after %.1f ms (median), %.1f ms (99 %%), %.1f ms at most; all agreed %.3f s after the last\n",
			"", s.LagP50, s.LagP99, s.LagMax, s.Agreed)
	} else if s.Agreed > 0 {
		fmt.Printf("%24s all agreed after %.2f s\n", "", s.Agreed)
	}
	return nil
}

// busiest returns the most requests in one second until ctx ends.
func (f *flock) busiest(ctx context.Context) (most int) {
	total := func() (n int) {
		for _, k := range f.counts() {
			n += k
		}
		return n
	}
	last := total()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
		now := total()
		most = max(most, now-last)
		last = now
	}
	return most
}

// marker registers one more instance and returns whether a snapshot has it.
func (f *flock) marker(n int) (reg nomad.Registration, knows func(*discovery.Snapshot) bool) {
	reg = f.registration(n%f.Services, 200+n/f.Services%50)
	key := discovery.Key{Namespace: nomad.DefaultNamespace, Name: reg.ServiceName}
	return reg, func(s *discovery.Snapshot) bool {
		service := s.Services[key]
		return service != nil && slices.ContainsFunc(service.Instances, func(i *discovery.Instance) bool { return i.ID == reg.ID })
	}
}

// streamsLost ends all streams while nothing changes. The last event is sent again,
// which shows each serai that it missed nothing.
func (f *flock) streamsLost() error {
	reg, knows := f.marker(1)
	f.sim.Register(reg)
	if err := f.await("the change", f.all, knows); err != nil {
		return err
	}
	before := f.sim.Counts().Requests
	f.sim.EndStreams()
	if err := f.pause(f.For); err != nil {
		return err
	}
	after := f.sim.Counts().Requests
	fmt.Printf("%24s reads after a lost stream with continuity: %d of services, %d lists\n", "",
		after[nomad.KindService]-before[nomad.KindService], after[nomad.KindServices]-before[nomad.KindServices])
	return nil
}

// newLeader ends all streams, as a change of the leader with a restored
// snapshot does, and changes something while nobody listens.
func (f *flock) newLeader() error {
	f.sim.SetLeader(false)
	f.sim.EndStreams()
	if err := f.pause(2 * time.Second); err != nil {
		return err
	}
	reg, knows := f.marker(0)
	f.sim.Register(reg)
	f.sim.SetLeader(true)
	began := time.Now()
	if err := f.await("the change", f.all, knows); err != nil {
		return err
	}
	f.found[len(f.found)-1].Agreed = time.Since(began).Seconds()
	// What each reads again follows slowly.
	return f.pause(f.For)
}

// change registers and deregisters, and follows every tenth through the flock.
func (f *flock) change() error {
	var lags []time.Duration
	every := time.Second / time.Duration(f.Changes)
	next := time.Now()
	n := 0
	for began := time.Now(); time.Since(began) < f.For; n++ {
		next = next.Add(every)
		if err := f.pause(time.Until(next)); err != nil {
			return err
		}
		reg, _ := f.marker(f.Services + n/2)
		if n%2 == 1 {
			f.sim.Deregister(nomad.DefaultNamespace, reg.ID)
			continue
		}
		f.sim.Register(reg)
		if n%20 == 0 {
			// One watcher at a time is asked: to ask all would take longer
			// than what is measured.
			w := f.all[n/20%len(f.all)]
			_, knows := f.marker(f.Services + n/2)
			at := time.Now()
			for !knows(w.latest.Load()) && time.Since(at) < time.Second {
				time.Sleep(50 * time.Microsecond)
			}
			lags = append(lags, time.Since(at))
		}
	}
	reg, knows := f.marker(f.Services + n)
	f.sim.Register(reg)
	last := time.Now()
	if err := f.await("the last change", f.all, knows); err != nil {
		return err
	}
	s := &f.found[len(f.found)-1]
	s.Agreed = time.Since(last).Seconds()
	slices.Sort(lags)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s.LagP50, s.LagP99, s.LagMax = ms(lags[len(lags)/2]), ms(lags[len(lags)*99/100]), ms(lags[len(lags)-1])
	return nil
}

// write writes the results, and fails when the steady state is not quiet.
func (f *flock) write() error {
	err := writeJSON(f.JSON, f.found)
	steady := f.found[1]
	asked := 0
	for _, n := range steady.Requests {
		asked += n
	}
	// Two cheap requests a minute are promised, beside the stream.
	if most := 2 * float64(len(f.all)+1) * max(1, steady.Seconds/60); float64(asked) > most {
		err = errors.Join(err, fmt.Errorf("in the steady state there were %d requests, more than the %.0f that are promised", asked, most))
	}
	return err
}
