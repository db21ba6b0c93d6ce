package nomadsim_test

import (
	"context"
	"testing"
	"time"

	"serai/nomad"
)

// testTimeout is how long a contract waits for an event. It is not an assertion about
// speed: it only ends a test that would hang.
const testTimeout = 60 * time.Second

// minTTL is the shortest TTL of a lock.
const minTTL = 10 * time.Second

// app is a service that a cluster runs in count instances, with the same name for job,
// group and service.
type app struct {
	namespace string
	name      string
	tags      []string
	// canaryTags, when not nil, are given to one instance of a new version
	// that is deployed beside the others until it is promoted.
	canaryTags []string
	count      int
}

// cluster is an agent under test, real or simulated, and the means to change its state.
// Its methods fail the test when they cannot.
type cluster interface {
	address() string
	// management is a token that may do everything; "" with ACLs off.
	management() string
	// deploy starts or changes an app.
	deploy(t *testing.T, a app)
	// promote ends a canary: all instances are the new version.
	promote(t *testing.T, a app)
	// stop ends all instances of an app and purges its job; halt keeps the job.
	stop(t *testing.T, a app)
	halt(t *testing.T, a app)
	createNamespace(t *testing.T, name string)
	// lockTTL is a TTL so long that a busy machine does not lose a lock, and so short
	// that a test can wait for it.
	lockTTL() time.Duration
	// alone is this cluster or a similar one, whose time only this test advances.
	alone(t *testing.T) cluster
	// pass advances the time for locks, and now is that time.
	pass(t *testing.T, d time.Duration)
	now() time.Time
}

// guarded is a cluster with ACLs on.
type guarded interface {
	cluster
	// token makes a token with the given rules.
	token(t *testing.T, rules ...rule) string
	// deleteToken removes a token.
	deleteToken(t *testing.T, secret string)
	// workload is the identity of a running job without a policy.
	workload(t *testing.T, namespace string) string
	// grant attaches a policy to that job, and revoke removes it.
	grant(t *testing.T, namespace string, rules ...rule)
	revoke(t *testing.T, namespace string)
	// outage is how long a permission is missing in tests of long outages.
	outage() time.Duration
}

// rule is a namespace block of a policy.
type rule struct {
	namespace    string
	capabilities []string
	// variables are capabilities by path glob.
	variables map[string][]string
}

// client talks to c with a token.
func client(t *testing.T, c cluster, token string) *nomad.Client {
	t.Helper()
	cl, err := nomad.NewClient(nomad.Options{Address: c.address(), Token: token, Limits: nomad.Limits{Request: testTimeout, FirstLine: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.CloseIdleConnections)
	return cl
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok, which otherwise says what it still sees.
func eventually(t *testing.T, what string, ok func() (bool, any)) {
	t.Helper()
	ctx := testContext(t)
	for {
		done, seen := ok()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not happen; last seen: %+v", what, seen)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// instances reads a service until it has n instances that all carry tag.
func instances(t *testing.T, cl *nomad.Client, a app, n int, tag string) []nomad.Registration {
	t.Helper()
	var regs []nomad.Registration
	eventually(t, "service "+a.name+" settles", func() (bool, any) {
		var err error
		regs, _, err = cl.Service(t.Context(), a.name, nomad.Query{Namespace: a.namespace})
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		for _, r := range regs {
			for _, have1 := range r.Tags {
				if have1 == tag {
					have++
					break
				}
			}
		}
		return have == n && len(regs) == n, regs
	})
	return regs
}

// contract is the behaviour of every agent with ACLs off.
func contract(t *testing.T, c cluster) {
	t.Run("services", func(t *testing.T) { t.Parallel(); contractServices(t, c) })
	t.Run("blocking", func(t *testing.T) { t.Parallel(); contractBlocking(t, c) })
	t.Run("blocking for any change", func(t *testing.T) { t.Parallel(); contractBlockingForAny(t, c) })
	t.Run("canary", func(t *testing.T) { t.Parallel(); contractCanary(t, c) })
	t.Run("stream", func(t *testing.T) { t.Parallel(); contractStream(t, c) })
	t.Run("stream history", func(t *testing.T) { t.Parallel(); contractHistory(t, c) })
	t.Run("stream namespaces", func(t *testing.T) { t.Parallel(); contractStreamNamespaces(t, c) })
	t.Run("namespaces", func(t *testing.T) { t.Parallel(); contractNamespaces(t, c) })
	t.Run("job services", func(t *testing.T) { t.Parallel(); contractJobServices(t, c) })
	t.Run("missing variable", func(t *testing.T) { t.Parallel(); contractMissingVariable(t, c) })
	t.Run("kill timeout", func(t *testing.T) { t.Parallel(); contractKillTimeout(t, c) })
	t.Run("variables", func(t *testing.T) { t.Parallel(); contractVariables(t, c) })
	t.Run("locks", func(t *testing.T) { t.Parallel(); contractLocks(t, c) })
	t.Run("lock expiry", func(t *testing.T) { t.Parallel(); contractLockExpiry(t, c.alone(t)) })
	t.Run("late lock", func(t *testing.T) { t.Parallel(); contractLateLock(t, c.alone(t)) })
	t.Run("bad requests", func(t *testing.T) { t.Parallel(); contractBadRequests(t, c) })
	t.Run("nomad's own client", func(t *testing.T) { t.Parallel(); contractOwnClient(t, c) })
	t.Run("same reading", func(t *testing.T) { t.Parallel(); contractSameReading(t, c) })
	t.Run("shared variables", func(t *testing.T) { t.Parallel(); contractSharedVariables(t, c) })
}

// guardedContract is the behaviour of every agent with ACLs on.
func guardedContract(t *testing.T, c guarded) {
	t.Run("strangers", func(t *testing.T) { t.Parallel(); contractStrangers(t, c) })
	t.Run("namespaces", func(t *testing.T) { t.Parallel(); contractGuardedNamespaces(t, c) })
	t.Run("workload", func(t *testing.T) { t.Parallel(); contractWorkload(t, c) })
	t.Run("rights that come and go", func(t *testing.T) { t.Parallel(); contractRights(t, c) })
	t.Run("shadow", func(t *testing.T) { t.Parallel(); contractShadow(t, c) })
	t.Run("token deleted", func(t *testing.T) { t.Parallel(); contractTokenDeleted(t, c) })
	t.Run("variables", func(t *testing.T) { t.Parallel(); contractGuardedVariables(t, c) })
}
