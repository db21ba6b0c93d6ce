package ui

import "testing"

// TestPasted copies what a job file takes, and no sentence.
func TestPasted(t *testing.T) {
	for advice, want := range map[string]string{
		"did you mean `strip`? Write ingress.evil.strip=/PREFIX": "ingress.evil.strip=/PREFIX",
		"/1":                                  "/1",
		"ingress.request-header=X-Team: shop": "ingress.request-header=X-Team: shop",
		"ingress.host=NAME; the operator can raise --max-hosts":         "ingress.host=NAME",
		"another host, path or condition; or remove it there":           "",
		"the same tags on all instances":                                "",
		"the operator can add --auth = basic to the file of --config":   "",
		"lists such as host=a.example.org,b.example.org":                "",
		"a number from 0 to 1000":                                       "",
		"use fewer routes, or lists such as ingress.host=a.example.org": "",
		"": "",
	} {
		if got := pasted(advice); got != want {
			t.Errorf("of %q is pasted %q, want %q", advice, got, want)
		}
	}
}
