package consulsim_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"serai/consul/consulsim"
)

// programs is how many random changes are made on both: SERAI_TEST_CHANGES, or enough
// for some seconds.
func programs() int {
	if n, err := strconv.Atoi(os.Getenv("SERAI_TEST_CHANGES")); err == nil {
		return n
	}
	return 150
}

// watched are the answers that are compared after each change.
var watched = []string{
	"/v1/health/service/web", "/v1/health/service/db", "/v1/health/service/web?passing", "/v1/health/connect/web",
	"/v1/catalog/service/web", "/v1/catalog/service/db", "/v1/catalog/service/web?tag=a", "/v1/catalog/services", "/v1/catalog/nodes",
	"/v1/health/state/any", "/v1/health/state/critical", "/v1/health/checks/web", "/v1/health/node/n2", "/v1/catalog/services?node-meta=rack:r1",
}

// TestRandomChangesLookAlike makes the same random changes on a real agent and on the
// simulator. After each, all answers are the same, and so are the relations of all their
// indexes.
func TestRandomChangesLookAlike(t *testing.T) {
	real := newRealCluster(t, "")
	sim := newSimCluster(t, consulsim.Options{})
	seed := rand.Uint64()
	if s, err := strconv.ParseUint(os.Getenv("SERAI_TEST_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("SERAI_TEST_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	both := []cluster{real, sim}
	callers := []*caller{callerOf(t, real, ""), callerOf(t, sim, "")}
	var made []string
	for range programs() {
		method, path, body := change(random)
		made = append(made, path+" "+body)
		var seen [2]string
		for i, c := range both {
			api := callers[i]
			seen[i] = render(t, api.do(t, method, path, body), c)
			for _, p := range watched {
				seen[i] += "> " + p + "\n" + render(t, api.do(t, "GET", p, ""), c)
			}
			// Which free address of the mesh is taken next is not simulated.
			seen[i] = virtual.ReplaceAllString(ranked(seen[i]), "240.0.0.x")
		}
		if seen[0] != seen[1] {
			t.Fatalf("after\n%s\nwant is the real one:\n%s", strings.Join(made, "\n"), difference(seen[0], seen[1]))
		}
	}
}

var virtual = regexp.MustCompile(`240\.0\.0\.\d+`)

// change is a random write to the catalog.
func change(random *rand.Rand) (method, path, body string) {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	node := pick("n2", "n3")
	address := pick("10.0.0.2", "10.0.0.3")
	meta := pick("", `, "NodeMeta": {}`, `, "NodeMeta": {"rack": "r1"}`)
	service := pick("web-1 web", "web-2 web", "db-1 db")
	id, name, _ := strings.Cut(service, " ")
	check := pick("c1", "c2")
	status := pick("passing", "warning", "critical")
	about := pick("", "", `, "Type": "http"`, `, "Interval": "5s", "Timeout": "1s"`, `, "Output": "fine"`, `, "Notes": "a note"`, `, "ServiceTags": []`, `, "ServiceTags": ["z"]`, `, "Definition": {}`)
	switch random.IntN(9) {
	case 0:
		return "PUT", "/v1/catalog/register", fmt.Sprintf(`{"Node": %q, "Address": %q%s}`, node, address, meta)
	case 1, 2, 3:
		tags := pick(`null`, `[]`, `["a"]`, `["a", "b"]`)
		also := pick("", "", `, "Meta": {}`, `, "Meta": {"k": "v"}`, `, "Weights": {"Passing": 3, "Warning": 1}`, `, "Weights": {}`, `, "Address": "10.1.0.1"`, `, "EnableTagOverride": true`, `, "SocketPath": "/s"`)
		kind := pick("", "", `, "Kind": "connect-proxy", "Proxy": {"DestinationServiceName": "web"}`, `, "Connect": {"Native": true}`)
		return "PUT", "/v1/catalog/register", fmt.Sprintf(`{"Node": %q, "Address": %q%s, "SkipNodeUpdate": %s, "Service": {"ID": %q, "Service": %q, "Port": %s, "Tags": %s%s%s}}`,
			node, address, meta, pick("true", "false"), id, name, pick("1", "2"), tags, kind, also)
	case 4, 5:
		of := pick("", fmt.Sprintf(`, "ServiceID": %q`, id))
		return "PUT", "/v1/catalog/register", fmt.Sprintf(`{"Node": %q, "Address": %q, "SkipNodeUpdate": true, "Check": {"CheckID": %q, "Name": "n", "Status": %q%s%s}}`,
			node, address, check, status, of, about)
	case 6:
		return "PUT", "/v1/catalog/deregister", fmt.Sprintf(`{"Node": %q, "ServiceID": %q}`, node, id)
	case 7:
		return "PUT", "/v1/catalog/deregister", fmt.Sprintf(`{"Node": %q, "CheckID": %q}`, node, check)
	}
	if random.IntN(4) == 0 {
		return "PUT", "/v1/catalog/deregister", fmt.Sprintf(`{"Node": %q}`, node)
	}
	return "PUT", "/v1/catalog/register", fmt.Sprintf(`{"Node": %q, "Address": %q, "Service": {"ID": %q, "Service": %q}, "Check": {"CheckID": %q, "Name": "n", "Status": %q, "ServiceID": %q}}`,
		node, address, id, name, check, status, id)
}
