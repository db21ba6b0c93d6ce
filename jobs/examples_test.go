package jobs_test

import (
	"fmt"
	"strings"

	"serai/internal/testnet"
)

// What holds of the examples whichever source has their services. Run runs one of them, with
// variables.

// examples runs those that both sources can have, and reaches each.
func (c *cluster) examples(run func(job string, vars ...string)) {
	c.t.Helper()
	c.run("namespace", "apply", "team-a")
	for _, job := range []string{"host-dynamic", "namespace", "sticky", "path", "broken-tags", "canary", "grpc", "policies", "auth", "default-host"} {
		run(job)
	}
	run("host-static", fmt.Sprintf("port=%d", testnet.Ports(c.t, 1)[0]))
	for host, name := range map[string]string{
		"dynamic": "web", "static": "web", "shop.team-a": "web", "sticky": "web", "path": "web", "fine": "web", "canary": "version-1", "grpc": "echo", "default-host": "web",
	} {
		c.reaches(host+".example.org", "/", name)
	}
	c.reaches("path.example.org", "/api/items", "api")
	c.reaches("policies.example.org", "/v1/users", "web")
	c.login("auth.example.org")
	if status, _ := c.get("typo.example.org", "/"); status != 404 {
		c.t.Errorf("a refused route answered %d", status)
	}
	c.until("two instances by gRPC", func() bool { return len(c.say("grpc.example.org", "echo", 20)) == 2 })
}

// reachesFront waits until a front knows its back, which has two addresses, each with its port.
func (c *cluster) reachesFront(host string) {
	c.t.Helper()
	c.reaches(host, "/", "front")
	c.until("the front's knowledge of the back", func() bool {
		_, body := c.get(host, "/")
		first, _, _ := strings.Cut(body, ", allocation")
		return strings.Count(first, ":") == 2
	})
}

// promotes has the canary of a new version asked for, and promotes it, under load.
func (c *cluster) promotes(run func(job string, vars ...string)) {
	c.t.Helper()
	c.underLoad("canary.example.org", func() {
		run("canary", "version=2")
		c.until("an asked-for canary", func() bool {
			_, body := c.get("canary.example.org", "/", "X-Canary", "1")
			return strings.HasPrefix(body, "version-2,")
		})
		c.until("a promotion", func() bool { return !strings.Contains(c.run("job", "promote", "-detach", "canary"), "Error") })
		c.until("only the new version", func() bool {
			for range 20 {
				if _, body := c.get("canary.example.org", "/"); !strings.HasPrefix(body, "version-2,") {
					return false
				}
			}
			return true
		})
	})
}

// scales changes the number of instances, under load.
func (c *cluster) scales() {
	c.t.Helper()
	c.underLoad("dynamic.example.org", func() {
		for _, n := range []int{5, 1, 3} {
			c.scale("host-dynamic", n)
		}
	})
}
