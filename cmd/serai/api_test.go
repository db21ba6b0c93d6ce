package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"serai/internal/history"
	"serai/internal/testdoc"
	"serai/internal/testnet"
	"serai/nomad"
)

// apiDoc describes the API.
const apiDoc = "../../docs/api.md"

// accidental is what differs from run to run in an answer, and what the document has instead.
var accidental = []struct{ what, instead string }{
	{`"\d{4}-\d\d-\d\dT[^"]*"`, `"2026-01-31T03:12:00Z"`},
	{`127\.0\.0\.1:\d+`, "10.0.0.1:21000"},
	{`"static-web-[^"]*"`, `"web-1"`},
	{`"(id|first_id|last)": \d+`, `"$1": 1769829120000000`},
	{`"(id|alloc)": "[^"]+"`, `"$1": "web-1"`},
	{`"version": "[^"]*"`, `"version": "v1.0.0"`},
	{`"name": "[^"]*"`, `"name": "client-1"`},
	{`/[^ "]*/services\.json`, "/etc/serai/services.json"},
	{`"/[^"]*/default\.crt"`, `"/etc/serai/certs/default.crt"`},
	{`"(requests_per_second)": [0-9.]+`, `"$1": 12.5`},
	{`"(errors_per_second)": [0-9.]+`, `"$1": 0`},
	{`"(p50_ms|latency_ms)": [0-9.]+`, `"$1": 1.25`},
	{`"(p99_ms)": [0-9.]+`, `"$1": 9.5`},
	{`"(connections|idle_connections)": \d+`, `"$1": 1`},
	{`"(accepted|requests)": \d+`, `"$1": 250`},
	{`"(in_flight|inflight)": \d+`, `"$1": 0`}, // a request ends a moment after its answer has come
	{`"(kept)": \d+`, `"$1": 9`},
	{`"(scans|events)": \d+`, `"$1": 1`},
	{`since [0-9T:-]+Z`, "since 2026-01-31T03:12:00Z"},
	{`for \d+[0-9a-zµ.]*`, "for 1s"},
	{`(?s)("samples": \[\s*\{[^}]*\}),.*\]`, "$1\n  ]"},
}

// TestAPIDocument asks a running serai everything, and compares its answers with the document.
func TestAPIDocument(t *testing.T) {
	t.Parallel()
	admin, secure, dir := testnet.Address(t), testnet.Address(t), t.TempDir()
	authority(t).write(t, dir, "default", "shop.example.org")
	web := instance(t, "web", "ingress.host=shop.example.org", "ingress.admin.host=shop.example.org", "ingress.admin.path=/admin", "ingress.admin.striip=/admin")
	_, address := serveStatic(t, []nomad.Registration{web}, "--admin="+admin, "--https="+secure, "--cert-dir="+dir)
	until(t, "an answer of the instance", func() bool { status, _ := get(address, "shop.example.org", "/"); return status == 200 })
	until(t, "a sample of the traffic", func() bool {
		get(address, "shop.example.org", "/")
		return strings.Contains(apiAnswer(t, admin, "traffic"), `"time"`)
	})
	for name, path := range map[string]string{
		"status": "status", "traffic": "traffic", "routes": "routes?limit=1", "instances": "instances", "rejections": "rejections", "certificates": "certificates",
		"events": "events?event=instance-ready", "explain": "explain?host=shop.example.org&path=/cart",
	} {
		got := apiAnswer(t, admin, path)
		for _, a := range accidental {
			got = regexp.MustCompile(a.what).ReplaceAllString(got, a.instead)
		}
		testdoc.HoldSection(t, apiDoc, name, fmt.Sprintf("`GET /api/v1/%s`\n\n```json\n%s```\n", path, got), *update)
	}
	var kinds strings.Builder
	kinds.WriteString("| event | means |\n| --- | --- |\n")
	for _, k := range history.Kinds() {
		fmt.Fprintf(&kinds, "| `%s` | %s |\n", k, k.Means())
	}
	testdoc.HoldSection(t, apiDoc, "kinds", kinds.String(), *update)
}

// apiAnswer is what a path of the API answers.
func apiAnswer(t *testing.T, admin, path string) string {
	t.Helper()
	res, err := http.Get("http://" + admin + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("%s answered %d %s: %v", path, res.StatusCode, body, err)
	}
	return string(body)
}

// TestAPIKeysAreDescribed: see the reflection over the types in package admin.
func TestAPIKeysAreDescribed(t *testing.T) {
	text, err := os.ReadFile(apiDoc)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range apiKeys() {
		if !strings.Contains(string(text), `"`+key+`"`) && !regexp.MustCompile("`"+key+"`").Match(text) {
			t.Errorf("docs/api.md does not say what %q is", key)
		}
	}
}
