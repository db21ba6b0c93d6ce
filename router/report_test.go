package router_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"serai/discovery"
	"serai/router"
	"serai/upstream"
)

// reporter is a builder with a log.
type reporter struct {
	*testing.T
	builder *router.Builder
	known   map[discovery.Key]*discovery.Service
	log     bytes.Buffer
	index   uint64
}

func newReporter(t *testing.T, level slog.Level) *reporter {
	t.Helper()
	r := &reporter{T: t, known: make(map[discovery.Key]*discovery.Service)}
	var err error
	r.builder, err = router.NewBuilder(router.NewRouter(), router.Options{
		Registry: upstream.NewRegistry(upstream.RegistryOptions{}), Linger: -1,
		Logger: slog.New(slog.NewTextHandler(&r.log, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// set makes a service of one instance with these tags; without tags it removes it.
func (r *reporter) set(name string, tags ...string) {
	key := discovery.Key{Namespace: "shop", Name: name}
	delete(r.known, key)
	r.index++
	if len(tags) > 0 {
		r.known[key] = &discovery.Service{Key: key, Instances: []*discovery.Instance{{
			ID: "id-" + name, Namespace: "shop", Service: name, Job: "job-" + name, Alloc: "alloc-" + name,
			Address: "127.0.0.1", Port: 80, Tags: tags, Created: r.index, Modified: r.index,
		}}}
	}
}

// publish makes a table and returns what was logged with it.
func (r *reporter) publish(partial bool) string {
	r.log.Reset()
	r.builder.Update(&discovery.Snapshot{Services: r.known, Index: r.index, Partial: partial})
	return withoutMoves(r.log.String())
}

// withoutMoves leaves out the lines about routes that come and go.
func withoutMoves(log string) string {
	var rest strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "event=route-") || strings.Contains(line, "event=route-contested") {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

func (r *reporter) want(when, log string, lines int, parts ...string) {
	r.Helper()
	if n := strings.Count(log, "\n"); n != lines {
		r.Errorf("%s: %d lines, want %d:\n%s", when, n, lines, log)
	}
	for _, part := range parts {
		if !strings.Contains(log, part) {
			r.Errorf("%s: the log lacks %q:\n%s", when, part, log)
		}
	}
}

// TestRefusalsAreLoggedOnce: with attributes, with their end, and as a summary at the
// start.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	r := newReporter(t, slog.LevelInfo)
	for i := range 30 {
		r.set(fmt.Sprintf("s%02d", i), "ingress.host=s.example.org", "ingress.nothing=1")
	}
	r.want("the start", r.publish(true), 1, "level=WARN", "refused at the start; see /rejections", "refusals=30", "services=30")
	r.set("late", "ingress.nothing=1")
	r.want("the rest of the start", r.publish(false), 1, "refusals=1 ")
	r.want("nothing new", r.publish(false), 0)

	r.set("bad", "ingress.host=bad.example.org", "ingress.striip=/x")
	r.want("a new one", r.publish(false), 1, "level=WARN msg=refused namespace=shop service=bad job=job-bad", `tag="ingress.striip=/x"`, "instead=", "instances=1")
	r.set("bad", "ingress.host=bad.example.org", "ingress.strip=/x")
	r.want("its end", r.publish(false), 1, `level=INFO msg="no longer refused" namespace=shop service=bad`, `tag="ingress.striip=/x"`)

	r.set("holds", "ingress.host=held.example.org")
	r.publish(false)
	r.set("wants", "ingress.host=held.example.org")
	r.want("a contest", r.publish(false), 1, "service=wants", "hosts=held.example.org", "holder=shop/holds")
	r.set("holds")
	r.want("its end", r.publish(false), 1, `msg="no longer refused"`, "service=wants", "holder=shop/holds")

	for i := range 30 {
		r.set(fmt.Sprintf("s%02d", i))
	}
	r.want("the end of many", r.publish(false), 21, "more ends of refusals are not logged; see /rejections", "refusals=10")
}

// TestRefusedInstancesAreLoggedOnce: whatever hosts more of them have.
func TestRefusedInstancesAreLoggedOnce(t *testing.T) {
	r := newReporter(t, slog.LevelInfo)
	r.publish(false)
	for n := 1; n <= 3; n++ {
		s := crowd("shop", "app", n, 1, func(i int) []string { return []string{fmt.Sprintf("ingress.host=h%d.example.org", i)} })
		for _, i := range s.Instances {
			i.Port = 0
		}
		r.known[s.Key] = s
		r.want(fmt.Sprint(n, " instances"), r.publish(false), 1/n)
	}
}

// TestRefusalsAtTheStartAreDetails: with DEBUG each has a line, up to a limit.
func TestRefusalsAtTheStartAreDetails(t *testing.T) {
	r := newReporter(t, slog.LevelDebug)
	for i := range 300 {
		r.set(fmt.Sprintf("s%03d", i), "ingress.host=s.example.org", "ingress.nothing=1")
	}
	r.want("the start", r.publish(false), 201, "level=DEBUG msg=refused namespace=shop service=s000", "refusals=300")
}
