package main

import (
	"encoding/json"
	"strings"
	"testing"

	"serai/nomad/nomadtest"
)

// TestOperatorsSecretsAreNotShown: the values that a policy of the operator's file sends to
// instances stand nowhere that others may look, nor do they when the file has an error.
func TestOperatorsSecretsAreNotShown(t *testing.T) {
	t.Parallel()
	_, url, _ := nomadtest.Simulator(t,
		instance(t, "web", "ingress.host=web.example.org", "ingress.policies=token", "ingress.request-set=X-Own: of-the-tag"),
		instance(t, "closed", "ingress.host=closed.example.org", "ingress.policies=none", "ingress.response-set=X-A: b"),
	)
	const secret = "s3cr3t"
	policy := func(more string) string {
		return "policy \"token\" {\n  request_set = [\"Authorization: Bearer " + secret + "\", \"X-Token: {host}-" + secret + "\"]\n  response_set = \"X-Shown: to-clients\"\n" + more + "}\n"
	}
	c := serveConfig(t, url, policy(""))
	until(t, "the route", func() bool {
		status, body := get(c.traffic, "web.example.org", "/")
		return status == 200 && strings.Contains(body, secret)
	})
	look := func() string {
		var all strings.Builder
		for _, page := range []string{"/routes", "/explain?host=web.example.org", "/rejections", "/ready", "/metrics", "/endpoints", "/instances", "/"} {
			_, body := get(c.admin, "localhost", page)
			all.WriteString(body)
		}
		return all.String()
	}
	shown := look()
	if strings.Contains(shown, secret) {
		t.Errorf("the secret is shown: %s", shown)
	}
	for _, want := range []string{"instances get Authorization, X-Token with values that are not shown", "X-Shown: to-clients", "X-Own: of-the-tag"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown in %s", want, shown)
		}
	}
	var routes []struct {
		Host   string
		Closed bool
	}
	_, text := get(c.admin, "localhost", "/routes")
	if err := json.Unmarshal([]byte(text), &routes); err != nil || len(routes) != 2 {
		t.Fatalf("/routes: %v: %s", err, text)
	}
	for _, r := range routes {
		if r.Closed != (r.Host == "closed.example.org") {
			t.Errorf("%+v", r)
		}
	}
	for i, wrong := range []string{"  request_remove = \"X-Token\"\n", "  request_set_more = \"X: " + secret + "\"\n", "  rate = \"" + secret[:1] + "\"\n"} {
		c.write(policy(wrong))
		c.counts("refused", i+1)
		if shown := look() + c.stderr.String(); strings.Contains(shown, secret) {
			t.Errorf("with an error the secret is shown: %s", shown)
		}
	}
}
