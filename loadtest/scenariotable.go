package main

import (
	"net/http"
	"time"
)

// scenario is a named program of steps.
type scenario struct {
	name     string
	count    int           // instances at the start
	tags     []string      // besides the host
	http2    bool          // clients speak HTTP/2 and gRPC, unary and streaming, and instances gRPC
	delay    time.Duration // shutdown_delay
	long     bool          // left out with --rounds=1
	flags    []string      // of serai, and NAME=VALUE for its environment
	nodes    int           // serai behind a balancer; one without a balancer when 0
	token    string        // of serai, where the simulator wants one
	onlyPOST bool          // what nobody may repeat may fail
	onlyCut  bool          // answers that had begun may be cut
	large    string        // the method of requests with a larger body, PUT
	shows    bool          // only shown: nothing is promised
	servers  bool          // needs servers that can be stopped
	traefik  bool          // in serai's place
	// network gives each instance a network of its own that can be cut. On a real Nomad
	// each of three nodes has one, and Nomad runs serai there from our job file.
	network  bool
	onBridge bool          // the simulator's serai listens there, for clients that have networks
	around   bool          // the load enters through all nodes but the first
	within   time.Duration // no request may take longer, 0 for no promise
	once     bool          // the steps are not repeated
	steps    func(*testbed) error
}

func scenarios() []scenario {
	all := []scenario{
		{name: "rolling deploy of 3, without shutdown_delay", count: 3, steps: rollingDeploy},
		{name: "the same deploy with a POST of 20 KiB in place of a PUT", count: 3, large: http.MethodPost, shows: true, steps: rollingDeploy},
		{name: "the same deploy with the Traefik on PATH", count: 3, traefik: true, shows: true, steps: rollingDeploy},
		{name: "scale 1 -> 10 -> 1", count: 1, steps: scale},
		{name: "redeploy with count = 1, a gap of 2 s", count: 1, steps: redeployTimes(3, 2)},
		{name: "canary and promotion", count: 3, steps: canary},
		{name: "blue/green and promotion", count: 3, steps: blueGreen},
		{name: "kill -9 of one of 3", count: 3, onlyPOST: true, steps: killOne},
		{name: "Nomad's stream ends, again and again", count: 3, steps: streamEnds},
		// An instance that stops meanwhile closes connections that serai still uses: a POST that crosses the end of
		// its connection may have been read.
		{name: "Nomad is cut off for 10 s during a deploy", count: 3, onlyPOST: true, steps: cutOff},
		{name: "Nomad answers 500 for 5 s", count: 3, steps: errors500},
		{name: "serai's token is revoked for 5 s, and restored", count: 3, token: "secret", steps: revoke},
		{name: "no leader for 5 s", count: 3, steps: noLeader},
		{name: "one of 3 hangs for 5 s (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: hang},
		{name: "a fourth answers 500 (--eject-share=0.5)", count: 3, flags: []string{"--eject-share=0.5"}, shows: true, once: true, steps: join(answers500)},
		{name: "a fourth never answers (timeout=1s)", count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: join(neverAnswers)},
		{name: "a fourth cuts its answers in half", count: 3, shows: true, once: true, steps: join(cutsAnswers)},
		{name: "a fourth is 100 times slower", count: 3, shows: true, once: true, steps: join(isSlow)},
		{name: "restart of serai on one of 3 nodes, again and again", count: 3, nodes: 3, flags: drained, steps: restartTimes(5, 2)},
		{name: "rolling update of serai on 3 nodes", count: 3, nodes: 3, flags: drained, steps: restartAll},
		{name: "the network of one of 3 instances is cut for 10 s", count: 3, network: true, onlyPOST: true, within: cutWithin, steps: cutNetwork},
		{name: "the network of 90 clients is cut", count: 3, network: true, onBridge: true, flags: shortClientTimeouts, steps: cutClients},
	}
	return append(all, scenariosHTTP2()...)
}

// scenariosHTTP2 are those with clients of HTTP/2 and gRPC. Streams last until a drain
// is over, which is short here.
func scenariosHTTP2() []scenario {
	drained := []string{"--drain-delay=1s", "--drain-timeout=2s"}
	manyWait := []string{"--max-waiting=4000"} // twice as many ask as elsewhere
	return []scenario{
		{name: "http2, grpc: rolling deploy of 3, without shutdown_delay", http2: true, count: 3, steps: rollingDeploy},
		{name: "http2, grpc: rolling deploy of 3, shutdown_delay = 1s", http2: true, count: 3, delay: time.Second, steps: rollingDeploy},
		{name: "http2, grpc: redeploy with count = 1, a gap of 2 s", http2: true, count: 1, flags: manyWait, steps: redeployTimes(1, 2)},
		{name: "http2, grpc: kill -9 of one of 3", http2: true, count: 3, flags: manyRetries, onlyPOST: true, steps: killOne},
		{name: "http2, grpc: kill -9 of one of 3 (retry-post=on)", http2: true, count: 3, flags: manyRetries, onlyCut: true, tags: []string{"ingress.retry-post=on"}, shows: true, steps: killOne},
		{name: "http2, grpc: one of 3 hangs for 5 s (timeout=1s)", http2: true, count: 3, tags: []string{"ingress.timeout=1s"}, shows: true, once: true, steps: hang},
		{name: "http2, grpc: serai hands its port over to the next one", http2: true, count: 3, flags: []string{"--reuse-port", "--drain-timeout=2s"}, steps: handOver},
		{name: "http2, grpc: restart of serai on one of 3 nodes", http2: true, count: 3, nodes: 3, flags: drained, steps: restartTimes(1, 2)},
		{name: "http2, grpc: the network of one of 3 instances is cut for 10 s", http2: true, count: 3, network: true, flags: manyRetries, long: true, onlyPOST: true, within: cutWithin, steps: cutNetwork},
	}
}

// manyRetries lets all requests of one of three instances be repeated at once: they
// share its connections, and fail together. On a busy machine one instance may have
// most of them.
var manyRetries = []string{"--retry-share=1"}
