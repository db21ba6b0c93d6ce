package nomadsim_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"serai/discovery"
	"serai/nomad"
)

// looker is serai's discovery, and what it missed.
type looker struct {
	watcher *discovery.Watcher
	mu      sync.Mutex
	newest  *discovery.Snapshot
	// must are services that every snapshot must have; looks and failed count.
	must          []discovery.Key
	looks, failed int
}

func look(t *testing.T, cl *nomad.Client, home string) *looker {
	t.Helper()
	all, err := discovery.NewWatchers(discovery.WatcherOptions{Client: cl, Home: home})
	if err != nil {
		t.Fatal(err)
	}
	l := &looker{watcher: all[0]}
	ctx, cancel := context.WithCancel(context.Background())
	snapshots := make(chan *discovery.Snapshot)
	var running sync.WaitGroup
	running.Go(func() { l.watcher.Run(ctx, snapshots) })
	running.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			l.mu.Lock()
			for _, key := range l.must {
				l.looks++
				if l.newest.Services[key] == nil {
					l.failed++
				}
			}
			l.mu.Unlock()
			select {
			case s := <-snapshots:
				l.mu.Lock()
				l.newest = s
				l.mu.Unlock()
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return l
}

func (l *looker) knows(keys ...discovery.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if l.newest == nil || l.newest.Services[key] == nil {
			return false
		}
	}
	return true
}

func (l *looker) live() bool { return l.watcher.Status()[0].Phase == discovery.Live }

// contractRights removes the policy of a job and restores it: what exists stays known,
// what is new is known soon after, and a serai that starts without the policy works as
// soon as it is there.
func contractRights(t *testing.T, c guarded) {
	for _, name := range []string{"rights-home", "rights-a", "rights-b", "rights-c"} {
		c.createNamespace(t, name)
	}
	service := func(namespace, name string) discovery.Key {
		c.deploy(t, app{namespace: namespace, name: name, tags: []string{"ingress.host=" + name}, count: 1})
		return discovery.Key{Namespace: namespace, Name: name}
	}
	all := []discovery.Key{service("rights-a", "rights-one"), service("rights-b", "rights-two")}
	token := c.workload(t, "rights-home")
	everywhere := rule{namespace: "*", capabilities: readJob}
	c.grant(t, "rights-home", everywhere)
	old := look(t, client(t, c, token), "rights-home")
	eventually(t, "life", func() (bool, any) { return old.live() && old.knows(all...), old.watcher.Status() })
	old.mu.Lock()
	old.must = all
	old.mu.Unlock()
	for i, away := range []time.Duration{time.Second, c.outage()} {
		c.revoke(t, "rights-home")
		eventually(t, "notice of the loss", func() (bool, any) { s := old.watcher.Status()[0]; return !old.live() && s.Problem != "", s })
		young := look(t, client(t, c, token), "rights-home")
		time.Sleep(away)
		fresh := service("rights-c", []string{"rights-three", "rights-four"}[i])
		t.Logf("after %v without the right: %+v", away, old.watcher.Status()[0])
		back := time.Now()
		c.grant(t, "rights-home", everywhere)
		for name, l := range map[string]*looker{"one that ran": old, "one that began without the right": young} {
			eventually(t, "a new service at "+name, func() (bool, any) { return l.knows(fresh), l.watcher.Status() })
			eventually(t, "life of "+name, func() (bool, any) { return l.live() && l.knows(all...), l.watcher.Status() })
			took := time.Since(back)
			t.Logf("%s: %v after the return of the right", name, took)
			if took > 10*time.Second {
				t.Errorf("%s took %v to use the right", name, took)
			}
		}
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	t.Logf("%d looks, %d failed: %+v", old.looks, old.failed, old.watcher.Status()[0])
	if old.failed > 0 || old.looks == 0 {
		t.Errorf("%d of %d looks failed", old.failed, old.looks)
	}
}
