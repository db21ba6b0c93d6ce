package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"serai/consul"
	"serai/discovery"
)

// newInConsul is how many services are new, each of which takes more queries that wait.
const newInConsul = 2

func (f *consulFlock) checks() error {
	return f.follow(2*f.Times, func(n int) error {
		return f.register(n/2%f.Ours, 0, []string{consul.Critical, consul.Passing}[n%2])
	}, func(s *discovery.Snapshot, n int) bool {
		i := f.find(s, n/2%f.Ours, 0)
		return i != nil && (i.Unfit == "") == (n%2 == 1)
	})
}

// start registers instances as agents do: critical, until the check has run. Ready has them pass.
func (f *consulFlock) start() error {
	return f.follow(f.Times, func(n int) error { return f.register(n%f.Ours, f.Instances+n, consul.Critical) },
		func(s *discovery.Snapshot, n int) bool { return f.find(s, n%f.Ours, f.Instances+n) != nil })
}

func (f *consulFlock) ready() error {
	return f.follow(f.Times, func(n int) error { return f.register(n%f.Ours, f.Instances+n, consul.Passing) },
		func(s *discovery.Snapshot, n int) bool {
			i := f.find(s, n%f.Ours, f.Instances+n)
			return i != nil && i.Unfit == ""
		})
}

func (f *consulFlock) stop() error { return f.goFrom(0) }

// come registers instances of which no check tells, of services after those of the deploy.
func (f *consulFlock) come() error {
	return f.follow(f.Times, func(n int) error { return f.register((f.Times+n)%f.Ours, f.Instances+n, consul.Passing) },
		func(s *discovery.Snapshot, n int) bool { return f.find(s, (f.Times+n)%f.Ours, f.Instances+n) != nil })
}

func (f *consulFlock) leave() error { return f.goFrom(f.Times) }

// goFrom deregisters the instances that came, of the services from one on.
func (f *consulFlock) goFrom(first int) error {
	return f.follow(f.Times, func(n int) error { return f.deregister((first+n)%f.Ours, f.Instances+n) },
		func(s *discovery.Snapshot, n int) bool { return f.find(s, (first+n)%f.Ours, f.Instances+n) == nil })
}

// routes registers services, and asks the whole serai for each until it has its answer.
func (f *consulFlock) routes() error {
	var took []time.Duration
	client := &http.Client{}
	defer client.CloseIdleConnections()
	err := f.follow(newInConsul, func(n int) error {
		at := time.Now()
		if err := f.register(f.Services+n, 0, consul.Passing); err != nil {
			return err
		}
		f.extra++
		for ; ; time.Sleep(time.Millisecond) {
			r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, "http://"+f.serai.address, nil)
			if err != nil {
				return err
			}
			r.Host = serviceInConsul(f.Services+n) + ".loadtest"
			res, err := client.Do(r)
			if err != nil {
				return err
			}
			res.Body.Close()
			switch {
			case res.StatusCode == http.StatusOK:
				took = append(took, time.Since(at))
				return nil
			case time.Since(at) > 5*time.Minute:
				return fmt.Errorf("no route for %s in five minutes, but %s", r.Host, res.Status)
			}
		}
	}, func(s *discovery.Snapshot, n int) bool { return f.find(s, f.Services+n, 0) != nil })
	if err != nil {
		return err
	}
	slices.Sort(took)
	fmt.Printf("%24s the whole serai answered for a new service after %v (median), %v at most\n", "", took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	return nil
}

// disconnect ends all connections, and changes something meanwhile.
func (f *consulFlock) disconnect() error {
	return f.follow(1, func(int) error {
		f.sim.Disconnect()
		return f.register(0, f.Instances, consul.Passing)
	}, func(s *discovery.Snapshot, _ int) bool { return f.find(s, 0, f.Instances) != nil })
}

// withoutLeader is how long an election takes: longer than serai takes to notice it.
const withoutLeader = 20 * time.Second

// elect takes the leader away for a while, and changes something once there is one again.
func (f *consulFlock) elect() error {
	return f.follow(1, func(int) error {
		f.sim.SetLeader(false)
		err := f.pause(withoutLeader)
		f.sim.SetLeader(true)
		if err != nil {
			return err
		}
		return f.register(1%f.Ours, 0, consul.Critical)
	}, func(s *discovery.Snapshot, _ int) bool {
		i := f.find(s, 1%f.Ours, 0)
		return i != nil && i.Unfit != ""
	})
}
