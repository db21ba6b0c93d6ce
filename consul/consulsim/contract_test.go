package consulsim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"serai/consul/consulsim"
)

// testTimeout is how long a contract waits for something. It is not an assertion about
// speed: it only ends a test that would hang.
const testTimeout = 2 * time.Minute

// cluster is an agent under test, real or simulated, whose server is its own.
type cluster interface {
	// address is its URL.
	address() string
	// management is a token that may do everything; "" with ACLs off.
	management() string
	// putToken makes or changes a token with a policy of its own.
	putToken(t *testing.T, token consulsim.Token)
	deleteToken(t *testing.T, token consulsim.Token)
	// restart ends the agent, which has no state afterwards, and starts it again.
	restart(t *testing.T)
	// save takes a snapshot, and returns what restores it.
	save(t *testing.T) (restore func())
	// sync hastens the agent's comparison of what it has with the catalog, which a real
	// one does once a minute.
	sync()
	// rotate makes a new root of the mesh the active one.
	rotate(t *testing.T)
	// serverPort is the port of the service "consul".
	serverPort() int
}

// answer is a whole answer.
type answer struct {
	status int
	head   http.Header
	body   string
}

func (a answer) index(t *testing.T) uint64 {
	t.Helper()
	index, err := strconv.ParseUint(a.head.Get("X-Consul-Index"), 10, 64)
	if err != nil {
		t.Fatalf("index of %+v: %v", a, err)
	}
	return index
}

// caller makes requests with one token.
type caller struct {
	address, token string
	client         *http.Client
}

func callerOf(t *testing.T, c cluster, token string) *caller {
	t.Helper()
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &caller{c.address(), token, &http.Client{Transport: tr}}
}

// try makes a request and reads the answer.
func (c *caller) try(ctx context.Context, method, path, body string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.address+path, bytes.NewBufferString(body))
	if err != nil {
		return answer{}, err
	}
	if c.token != "" {
		r.Header.Set("X-Consul-Token", c.token)
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	// An agent in development mode writes JSON for people.
	if compact := (&bytes.Buffer{}); err == nil && resp.Header.Get("Content-Type") == "application/json" && json.Compact(compact, b) == nil {
		b = compact.Bytes()
	}
	return answer{resp.StatusCode, resp.Header, string(b)}, err
}

// do is try, whose failure ends the test.
func (c *caller) do(t *testing.T, method, path, body string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	a, err := c.try(ctx, method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// get reads, and put writes, what must succeed.
func (c *caller) get(t *testing.T, path string) answer { t.Helper(); return c.must(t, "GET", path, "") }
func (c *caller) put(t *testing.T, path, body string)  { t.Helper(); c.must(t, "PUT", path, body) }

func (c *caller) must(t *testing.T, method, path, body string) answer {
	t.Helper()
	a := c.do(t, method, path, body)
	if a.status != http.StatusOK {
		t.Fatalf("%s %s %s: %d %s", method, path, body, a.status, a.body)
	}
	return a
}

// eventually reads until an answer is as wanted, and returns it.
func (c *caller) eventually(t *testing.T, path, what string, ok func(a answer) bool) answer {
	t.Helper()
	var a answer
	for end := time.Now().Add(testTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if a = c.do(t, "GET", path, ""); ok(a) {
			return a
		}
	}
	t.Fatalf("GET %s: %s did not happen; last seen: %d %s", path, what, a.status, a.body)
	return a
}

// instance is what tests read of an entry of health/service.
type instance struct {
	Node    struct{ Node, Address string }
	Service struct {
		ID, Service string
		Tags        []string
		ModifyIndex uint64
	}
	Checks []struct{ CheckID, Status, Output, Notes string }
}

func instances(t *testing.T, a answer) (all []instance) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &all); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return all
}

// count waits for n entries of a list, or a map.
func count(t *testing.T, n int) func(answer) bool {
	return func(a answer) bool {
		var list []any
		var names map[string]any
		if json.Unmarshal([]byte(a.body), &list) != nil && json.Unmarshal([]byte(a.body), &names) != nil {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return len(list)+len(names) == n
	}
}

// waiter is a blocking query that has been sent.
type waiter struct {
	path string
	done chan result
}

type result struct {
	answer answer
	err    error
}

// block begins a blocking query after an index.
func (c *caller) block(t *testing.T, path string, index uint64, wait string) *waiter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	w := &waiter{path, make(chan result, 1)}
	go func() {
		defer cancel()
		a, err := c.try(ctx, "GET", after(path, index, wait), "")
		w.done <- result{a, err}
	}()
	t.Cleanup(cancel)
	return w
}

// after is the path of a blocking query.
func after(path string, index uint64, wait string) string {
	sep := "?"
	for _, c := range path {
		if c == '?' {
			sep = "&"
		}
	}
	return fmt.Sprintf("%s%sindex=%d&wait=%s", path, sep, index, wait)
}

// woken waits for the answer.
func (w *waiter) woken(t *testing.T) answer {
	t.Helper()
	r := <-w.done
	if r.err != nil {
		t.Fatalf("GET %s: %v", w.path, r.err)
	}
	return r.answer
}

// contract is the behaviour of every agent with ACLs off. Each part has an agent of its
// own, since much of an answer is about everything.
func contract(t *testing.T, start func(t *testing.T) cluster) {
	transcripts(t, "open", start)
	for name, part := range map[string]func(t *testing.T, c cluster){
		"wakes":        contractWakes,
		"sleeps":       contractSleeps,
		"waits":        contractWaits,
		"ttl":          contractTTL,
		"anti-entropy": contractAntiEntropy,
		"restart":      contractRestart,
		"restore":      contractRestore,
		"near":         contractNear,
		"mesh":         contractMesh,
		"intentions":   contractIntentions,
	} {
		t.Run(name, func(t *testing.T) { part(t, start(t)) })
	}
}

// guardedContract is the behaviour of every agent with ACLs on.
func guardedContract(t *testing.T, start func(t *testing.T) cluster) {
	transcripts(t, "guarded", start)
	for name, part := range map[string]func(t *testing.T, c cluster){
		"token deleted while waiting": contractTokenDeleted,
		"right lost while waiting":    contractRightLost,
		"rights in the mesh":          contractMeshRights,
	} {
		t.Run(name, func(t *testing.T) { part(t, start(t)) })
	}
}
