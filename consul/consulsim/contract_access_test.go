package consulsim_test

import "testing"

// contractTokenDeleted deletes the token of a query that waits, which ends it.
func contractTokenDeleted(t *testing.T, c cluster) {
	manage := callerOf(t, c, c.management())
	reader := tokens["reader"]
	c.putToken(t, reader)
	manage.put(t, register, webTTL)
	api := callerOf(t, c, reader.Secret)
	before := api.eventually(t, healthWeb, "registration", status(t, "passing")).index(t)
	w := api.block(t, healthWeb, before, "10m")
	c.deleteToken(t, reader)
	// It may have arrived after the deletion, which looks the same.
	if a := w.woken(t); a.status != 403 || a.body != "rpc error: code = Unknown desc = ACL not found" {
		t.Errorf("a query whose token was deleted while it waited: %d %v %s", a.status, a.head, a.body)
	}
	if a := api.do(t, "GET", healthWeb, ""); a.status != 403 || a.body != "ACL not found" {
		t.Errorf("a query with a token that was deleted: %d %s", a.status, a.body)
	}
}

// contractRightLost takes the rules from the token of a query that waits: then it sees
// nothing, which one header says only to who does not wait.
func contractRightLost(t *testing.T, c cluster) {
	manage := callerOf(t, c, c.management())
	reader := tokens["reader"]
	c.putToken(t, reader)
	manage.put(t, register, webTTL)
	api := callerOf(t, c, reader.Secret)
	before := api.eventually(t, healthWeb, "registration", status(t, "passing")).index(t)
	w := api.block(t, healthWeb, before, "2s")
	blind := reader
	blind.Rules = nil
	c.putToken(t, blind)
	manage.put(t, "/v1/agent/check/fail/service:web", "")
	// It may end by the failure first, of which it may still have read.
	if a := w.woken(t); a.status != 200 || a.head.Get("X-Consul-Results-Filtered-By-ACLs") != "" {
		t.Errorf("a query that waited, whose token lost its rules: %d %v %s", a.status, a.head, a.body)
	}
	if a := api.get(t, healthWeb); a.body != "[]" || a.head.Get("X-Consul-Results-Filtered-By-ACLs") != "true" {
		t.Errorf("a query of a token that has lost its rules: %d %v %s", a.status, a.head, a.body)
	}
	c.putToken(t, reader)
	api.eventually(t, healthWeb, "the return of the rules", status(t, "critical"))
}
