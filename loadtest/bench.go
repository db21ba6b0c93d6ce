package main

// bench is a scenario of the comparison.
type bench struct {
	name   string
	path   string
	size   int64 // size of a large answer in bytes
	secure bool
	ask    ask // url and lasts are filled in
	routes bool
	// target is the promised ratio of CPU per request to the better of nginx and
	// HAProxy, at most; 0 when nothing is promised.
	target float64
	// against is the proxy that the target compares with, the better of both if empty.
	against string
	// rate makes the target a ratio of requests a second, at least.
	rate bool
	// faster is the promised ratio of requests a second to Traefik's; 0 promises
	// nothing.
	faster float64
	// ws asks for WebSocket messages.
	ws bool
	// burst opens all connections at once, and compares the 99th percentile of the
	// latencies in the first burstLasts.
	burst bool
	// rule is the policy that the proxies apply, nil for none.
	rule *rule
	// grpc asks for calls of gRPC, h2c for HTTP/2 without TLS.
	grpc, h2c bool
}

func benches() []bench {
	return []bench{
		{name: "small answers, 64 connections", path: "small", ask: ask{conns: 64}, target: 0.9, faster: 5},
		{name: "small answers, 1000 connections", path: "small", ask: ask{conns: 1000}, target: 1.0},
		{name: "a connection per request", path: "small", ask: ask{conns: 64, close: true}},
		{name: "a burst of 1000 clients, small answers", path: "small", ask: ask{conns: 1000}, burst: true, target: 1.0},
		{name: "64 KiB answers, 64 connections", path: "64k", ask: ask{conns: 64}, target: 1.0, against: "haproxy"},
		{name: "10 MiB answers, 16 connections", path: "10m", size: 10 << 20, ask: ask{conns: 16}, target: 1.0, against: "haproxy"},
		{name: "64 KiB uploads, 64 connections", path: "up", ask: ask{conns: 64, body: 64 << 10}, target: 1.0, against: "haproxy"},
		{name: "1 MiB uploads, 16 connections", path: "up", ask: ask{conns: 16, body: 1 << 20}, target: 1.0, against: "haproxy"},
		{name: "TLS, small answers, 64 connections", path: "small", secure: true, ask: ask{conns: 64}, target: 1.1, against: "nginx"},
		{name: "TLS handshakes, 64 at once", path: "small", secure: true, ask: ask{conns: 64, close: true}, target: 1.0, against: "haproxy", rate: true},
		{name: "HTTP/2 over TLS, 8 connections of 16 streams", path: "small", secure: true, ask: ask{conns: 8, streams: 16}, target: 0.9},
		{name: "HTTP/2 over TLS, 64 connections of 1 stream", path: "small", secure: true, ask: ask{conns: 64, streams: 1}, target: 0.9},
		{name: "HTTP/2 over TLS, 64 KiB answers", path: "64k", size: 64 << 10, secure: true, ask: ask{conns: 8, streams: 8}, target: 1.0},
		{name: "HTTP/2 over TLS, 10 MiB answers", path: "10m", size: 10 << 20, secure: true, ask: ask{conns: 8, streams: 2}, target: 1.0},
		{name: "HTTP/2 over TLS, 64 KiB uploads", path: "up", secure: true, ask: ask{conns: 8, streams: 8, body: 64 << 10}, target: 1.0},
		{name: "HTTP/2 over TLS, 10 MiB uploads", path: "up", secure: true, ask: ask{conns: 4, streams: 1, body: 10 << 20}, target: 1.0},
		{name: "HTTP/2 without TLS, 8 connections of 16 streams", path: "small", h2c: true, ask: ask{conns: 8, streams: 16}},
		{name: "gRPC over TLS, 8 connections of 16 calls", path: unaryPath, secure: true, grpc: true, ask: ask{conns: 8, streams: 16, grpc: true}, target: 0.9},
		{name: "gRPC over TLS, 64 connections of 1 call", path: unaryPath, secure: true, grpc: true, ask: ask{conns: 64, streams: 1, grpc: true}, target: 0.9},
		{name: "gRPC messages over TLS, 8 connections of 8 streams", path: streamPath, secure: true, grpc: true, ask: ask{conns: 8, streams: 8, grpc: true, own: true}},
		{name: "WebSocket messages, 64 connections", path: "ws", ask: ask{conns: 64}, ws: true},
		{name: "many routes, 64 connections", path: "small", ask: ask{conns: 64}, routes: true},
	}
}

// allBenches are all that can be compared.
func allBenches() []bench { return append(benches(), policyBenches()...) }

// can reports whether a proxy of this kind can run the scenario.
func (b *bench) can(k *peerKind) bool {
	return (k.secure || !b.secure) && (k.h2 || b.ask.streams == 0) && (k.grpc || !b.grpc && !b.h2c)
}

// unit is what value returns.
func (b *bench) unit() string {
	switch {
	case b.rate:
		return "per second"
	case b.burst:
		return "us p99"
	}
	return "us CPU"
}

// value is what the proxies are compared by.
func (b *bench) value(m measured) float64 {
	switch {
	case b.rate:
		return m.Rate
	case b.burst:
		return m.P99
	}
	return m.CPU
}

// count returns the number of requests. Of large answers, those that are incomplete at
// the end count in part.
func (b *bench) count(s seen) float64 {
	if b.size > 0 && s.Bytes > 0 {
		return float64(s.Bytes) / float64(b.size)
	}
	return float64(s.Requests)
}

// askOf returns what p is asked for.
func (b *bench) askOf(p *peer) ask {
	a := b.ask
	a.url = "http://" + p.setting.Plain + "/" + b.path
	switch {
	case b.ws:
		a.url = "ws://" + p.setting.Plain + "/" + b.path
	case b.h2c:
		a.url = "http://" + p.setting.H2C + "/" + b.path
	case b.secure:
		a.url = "https://" + p.setting.Secure + "/" + b.path
	}
	if b.rule != nil {
		a.host = b.rule.host
	}
	if b.routes {
		a.hosts = len(p.setting.Hosts)
	}
	return a
}
