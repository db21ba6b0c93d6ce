package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"serai/nomad"
)

// attacksCommand runs known attacks of strangers and tenants against a serai with 128
// MB, one after the other, while a client uses another service as usual. It prints the
// table of docs/security.md.
type attacksCommand struct {
	Binary string   `help:"serai; built when empty." placeholder:"PATH"`
	Only   []string `help:"Attacks whose name contains one of these." placeholder:"WORD,..."`
}

// attack is one attack.
type attack struct {
	name, who string
	what      string // what is done
	before    string // what happened when it was first done
	flags     []string
	tags      []string // tags of the service web, which is attacked
	// begin starts the attack, and returns a function that ends it, or nil.
	begin func(a *arena) (stop func(), err error)
	// outcome describes the effect, and fails when a promise is broken.
	outcome func(a *arena) (now string, err error)
}

// Run runs all attacks, and fails when one breaks a promise.
func (c *attacksCommand) Run(ctx context.Context) error {
	raiseLimit()
	remove, err := needSerai(ctx, &c.Binary)
	if err != nil {
		return err
	}
	defer remove()
	fmt.Println("| attack | who | what | before | now | bystander's p99, before and during |\n| --- | --- | --- | --- | --- | --- |")
	var broken []error
	s := &stressCommand{Binary: c.Binary}
	for _, one := range append(strangersAttacks(), tenantsAttacks()...) {
		if !wanted(c.Only, one.name) || ctx.Err() != nil {
			continue
		}
		t := &trial{name: one.name, memory: floodLimit, flags: one.flags, tags: one.tags, run: one.run}
		f, err := s.try(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		for _, b := range f.Broken {
			broken = append(broken, fmt.Errorf("%s: %s", one.name, b))
		}
	}
	return errors.Join(append(broken, ctx.Err())...)
}

// run runs the attack while a client uses another service.
func (t *attack) run(a *arena) error {
	bystander, err := a.start("bystander", "ingress.host=bystander.loadtest")
	if err != nil {
		return err
	}
	defer bystander.kill()
	if err := a.nodes[0].await(a.ctx, "bystander.loadtest", "/"); err != nil {
		return err
	}
	usual := ask{url: "http://" + a.address() + "/bytes/1000", host: "bystander.loadtest", conns: 4, rate: 100, lasts: 5 * time.Second}
	before, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	stop, err := t.begin(a)
	if err != nil {
		return err
	}
	if stop != nil {
		defer stop()
	}
	during, err := generate(a.ctx, usual)
	if err != nil {
		return err
	}
	now, err := t.outcome(a)
	if err != nil {
		a.broken("%v", err)
		now = "BROKEN: " + err.Error()
	}
	if during.Failed > 0 {
		a.broken("%d of %d requests of the bystander failed: %s", during.Failed, during.Requests, during.Cause)
	}
	fmt.Printf("| `%s` | %s | %s | %s | %s | %.1f and %.1f ms |\n", t.name, t.who, t.what, t.before, now, before.P99/1000, during.P99/1000)
	return nil
}

// evil is the namespace of the tenant that attacks.
const evil = "evil"

// register registers the n-th instance of a service of a namespace, and returns its ID.
func (a *arena) register(namespace, service string, n int, address string, port int, tags ...string) (id string) {
	alloc := fmt.Sprintf("f100d%03x-0000-4000-8000-%012x", n, len(service))
	a.sim.CreateNamespace(namespace)
	id = "_nomad-task-" + alloc + "-" + service
	a.sim.Register(nomad.Registration{ID: id, ServiceName: service, Namespace: namespace,
		JobID: service, AllocID: alloc, Tags: tags, Address: address, Port: port})
	return id
}

// until waits for an event, a minute at most, and returns how long it took.
func (a *arena) until(what string, came func() bool) (time.Duration, error) {
	began := time.Now()
	for !came() {
		if a.ctx.Err() != nil {
			return 0, a.ctx.Err()
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("no %s within a minute", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began), nil
}

// adminPage returns a page of the admin listener.
func (a *arena) adminPage(path string) string {
	res, err := http.Get("http://" + a.admin + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	page, _ := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	return string(page)
}

// refused waits until something of the evil namespace is refused with these words.
func (a *arena) refused(words ...string) error {
	_, err := a.until("rejection with "+strings.Join(words, ", "), func() bool {
		page := a.adminPage("/rejections?namespace=" + evil)
		for _, w := range words {
			if !strings.Contains(page, w) {
				return false
			}
		}
		return true
	})
	return err
}

// labelled returns a metric's value with these labels.
func (a *arena) labelled(series string) (value float64) {
	for line := range strings.Lines(a.adminPage("/metrics")) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			fmt.Sscan(rest, &value)
		}
	}
	return value
}
