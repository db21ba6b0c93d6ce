package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"serai/internal/testnet"
	"serai/nomad"
)

// Servers that others have written as instances that speak HTTP/2.

// registered is an instance at an address, of a host.
func registered(address, host string, tags ...string) nomad.Registration {
	a := tcp(address)
	return nomad.Registration{ID: host, ServiceName: host, Address: a.IP.String(), Port: a.Port, Tags: append([]string{"ingress.host=" + host}, tags...)}
}

// asked asks with a body that has a length unless it is negative.
func asked(t *testing.T, h *http.Client, method, url string, body io.Reader, length int, fields ...string) (res *http.Response, got string) {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = int64(length)
	for _, line := range fields {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	res, err = h.Do(r)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: %d bytes of the answer, then %v", method, url, len(all), err)
	}
	return res, string(all)
}

// nginxAddresses are where it listens: for requests, of which it takes a few on each connection, and for gRPC.
type nginxAddresses struct{ plain, secure, grpc, grpcs string }

// nginxWithHTTP2 runs an nginx that speaks HTTP/2 with and without TLS, and passes gRPC on.
func nginxWithHTTP2(t *testing.T, large, to string) (at nginxAddresses) {
	t.Helper()
	nginx := program(t, "nginx")
	version := regexp.MustCompile(`nginx/1\.(\d+)\.(\d+)`).FindStringSubmatch(runProgram(t, "", nginx, "-v").err)
	if version == nil {
		t.Skip("not run: this nginx does not say its version")
	}
	minor, _ := strconv.Atoi(version[1])
	listens, on := " http2", ""
	if minor > 25 || minor == 25 && version[2] != "0" {
		listens, on = "", "http2 on;"
	}
	dir := t.TempDir()
	authority(t).write(t, dir, "own", "nginx.example.org")
	if err := os.WriteFile(filepath.Join(dir, "large"), []byte(large), 0o644); err != nil {
		t.Fatal(err)
	}
	at = nginxAddresses{testnet.Address(t), testnet.Address(t), testnet.Address(t), testnet.Address(t)}
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
events {}
http {
	access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	client_max_body_size 0; ssl_certificate %[1]s/own.crt; ssl_certificate_key %[1]s/own.key; %[7]s
	server {
		listen %[2]s%[6]s; listen %[3]s ssl%[6]s; keepalive_requests 20; http2_max_concurrent_streams 8;
		location / { return 200 "$request_method $request_uri $server_protocol $http_x_own"; }
		location = /large { root %[1]s; }
		location = /length { return 200 "$content_length"; }
	}
	server {
		listen %[4]s%[6]s; listen %[5]s ssl%[6]s;
		location / { grpc_pass grpc://%[8]s; }
	}
}`, dir, at.plain, at.secure, at.grpc, at.grpcs, listens, on, to)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	daemon(t, func() bool { return dialed(at.plain) && dialed(at.secure) && dialed(at.grpc) && dialed(at.grpcs) }, nginx, "-c", file, "-p", dir)
	return at
}

// TestNginxInstance has nginx answer over HTTP/2, and take calls of gRPC, which it passes to grpc-go.
func TestNginxInstance(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 100_000)
	behind := newGRPCInstance(t, "behind")
	at := nginxWithHTTP2(t, large, fmt.Sprint("127.0.0.1:", behind.port))
	_, address := serveStatic(t, []nomad.Registration{
		registered(at.plain, "h2c.example.org", "ingress.scheme=h2c"), registered(at.secure, "h2.example.org", "ingress.scheme=h2", "ingress.tls-verify=false"),
		registered(at.grpc, "grpc.example.org", "ingress.scheme=grpc"), registered(at.grpcs, "grpcs.example.org", "ingress.scheme=grpcs", "ingress.tls-verify=false"),
	})
	for front, h := range webClients(t, address) {
		for _, host := range []string{"h2c.example.org", "h2.example.org"} {
			t.Run(front+" to "+host, func(t *testing.T) {
				var all sync.WaitGroup
				for i := range 10 {
					all.Go(func() {
						for j := range 20 {
							path := fmt.Sprintf("/a/%d/%d?x=y", i, j)
							if _, got := asked(t, h, "GET", "http://"+host+path, nil, 0, "X-Own: mine"); got != "GET "+path+" HTTP/2.0 mine" {
								t.Errorf("answered %q", got)
							}
						}
					})
				}
				all.Wait()
				if res, got := asked(t, h, "GET", "http://"+host+"/large", nil, 0); got != large || res.StatusCode != 200 {
					t.Errorf("%d bytes of the file, status %d", len(got), res.StatusCode)
				}
				if res, got := asked(t, h, "GET", "http://"+host+"/large", nil, 0, "Range: bytes=16-31"); got != "0123456789abcdef" || res.StatusCode != 206 {
					t.Errorf("of a part %q, status %d", got, res.StatusCode)
				}
				if res, got := asked(t, h, "HEAD", "http://"+host+"/large", nil, 0); got != "" || res.ContentLength != int64(len(large)) {
					t.Errorf("HEAD has %d bytes and says %d", len(got), res.ContentLength)
				}
				modified, _ := asked(t, h, "HEAD", "http://"+host+"/large", nil, 0)
				if res, got := asked(t, h, "GET", "http://"+host+"/large", nil, 0, "If-Modified-Since: "+modified.Header.Get("Last-Modified")); res.StatusCode != 304 || got != "" {
					t.Errorf("what is not modified is answered %d with %d bytes", res.StatusCode, len(got))
				}
				if _, got := asked(t, h, "PUT", "http://"+host+"/length", strings.NewReader(large), len(large)); got != fmt.Sprint(len(large)) {
					t.Errorf("it was sent %q bytes", got)
				}
				if res, _ := asked(t, h, "PUT", "http://"+host+"/length", io.LimitReader(strings.NewReader(large), 300_000), -1); res.StatusCode != 200 {
					t.Errorf("a body without a length is answered %d", res.StatusCode)
				}
			})
		}
	}
	for _, host := range []string{"grpc.example.org", "grpcs.example.org"} {
		t.Run("gRPC to "+host, func(t *testing.T) { callThroughNginx(t, address, host) })
	}
}

// callThroughNginx makes calls of each kind.
func callThroughNginx(t *testing.T, address, host string) {
	ctx, c := within(t), dialGRPC(t, address, host)
	tc := testgrpc.NewTestServiceClient(c)
	for name, do := range map[string]func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption){
		"empty_unary": interop.DoEmptyUnaryCall, "large_unary": interop.DoLargeUnaryCall, "client_streaming": interop.DoClientStreaming,
		"server_streaming": interop.DoServerStreaming, "ping_pong": interop.DoPingPong, "empty_stream": interop.DoEmptyStream,
		"custom_metadata": interop.DoCustomMetadata, "status_code_and_message": interop.DoStatusCodeAndMessage, "special_status_message": interop.DoSpecialStatusMessage,
	} {
		if told := survive(func() { do(ctx, tc) }); told != "" {
			t.Errorf("%s: %s", name, told)
		}
	}
	// Many at once, of which some fail.
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for j := range 10 {
				if name, err := who(ctx, c); err != nil || name != "behind" {
					t.Errorf("call %d of %d: %q, %v", j, i, name, err)
				}
				s := openStream(t, metadata.NewOutgoingContext(ctx, metadata.Pairs("fail-code", "9", "fail-message-bin", "größer")), c, "/own/Fail")
				s.CloseSend()
				if got := status.Convert(endOf(s)); got.Code() != codes.FailedPrecondition || got.Message() != "größer" {
					t.Errorf("a failure came as %v", got)
				}
			}
		})
	}
	all.Wait()
}

// nodeServer serves HTTP/2 with node's own module, without TLS, or with it where it is given
// a key. It writes its port to a file.
const nodeServer = `
const http2 = require('http2'), fs = require('fs'), [told, key, cert] = process.argv.slice(2)
const server = key ? http2.createSecureServer({key: fs.readFileSync(key), cert: fs.readFileSync(cert)}) : http2.createServer()
server.on('sessionError', e => console.error('session', String(e)))
server.on('stream', (stream, head) => {
	stream.on('error', e => console.error(head[':path'], String(e)))
	const say = (fields, body) => { stream.respond({':status': 200, ...fields}); stream.end(body) }
	switch (head[':path']) {
	case '/echo':
		stream.respond({':status': 200})
		return stream.pipe(stream)
	case '/early':
		return say({':status': 403}, 'no')
	case '/trailers':
		stream.respond({':status': 200}, {waitForTrailers: true})
		stream.on('wantTrailers', () => stream.sendTrailers({'x-sum': '1'}))
		return stream.end('body')
	case '/hints':
		stream.additionalHeaders({':status': 103, link: '</a.css>; rel=preload'})
		return say({}, 'hinted')
	case '/large':
		return say({}, Buffer.alloc(5000000, 'x'))
	case '/none':
		stream.respond({':status': 204})
		return stream.end()
	case '/cut': // to close a stream with an error ends it well at first
		stream.respond({':status': 200})
		return stream.write('part', () => setTimeout(() => stream.session.destroy(), 100))
	case '/last':
		say({}, 'the last')
		return stream.session.close()
	}
	say({'content-type': 'text/plain'}, [head[':method'], head[':path'], head[':authority'], head.cookie, head['x-own']].join(' '))
})
server.listen(0, '127.0.0.1', () => { fs.writeFileSync(told + '.new', String(server.address().port)); fs.renameSync(told + '.new', told) })
`

// nodeInstance runs it, and returns its address.
func nodeInstance(t *testing.T, args ...string) string {
	t.Helper()
	node := program(t, "node")
	script, told := filepath.Join(t.TempDir(), "server.js"), filepath.Join(t.TempDir(), "port")
	if err := os.WriteFile(script, []byte(nodeServer), 0o600); err != nil {
		t.Fatal(err)
	}
	port := ""
	daemon(t, func() bool {
		b, _ := os.ReadFile(told)
		port = string(b)
		return port != "" && dialed("127.0.0.1:"+port)
	}, node, append([]string{script, told}, args...)...)
	return net.JoinHostPort("127.0.0.1", port)
}

// TestNodeInstance has node answer over HTTP/2, with and without TLS.
func TestNodeInstance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority(t).write(t, dir, "own", "node.example.org")
	_, address := serveStatic(t, []nomad.Registration{
		registered(nodeInstance(t), "h2c.example.org", "ingress.scheme=h2c"),
		registered(nodeInstance(t, filepath.Join(dir, "own.key"), filepath.Join(dir, "own.crt")), "h2.example.org", "ingress.scheme=h2", "ingress.tls-verify=false"),
	})
	large := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	for front, h := range webClients(t, address) {
		for _, host := range []string{"h2c.example.org", "h2.example.org"} {
			url := "http://" + host
			t.Run(front+" to "+host, func(t *testing.T) {
				if _, got := asked(t, h, "DELETE", url+"/a?b=c", nil, 0, "Cookie: d=e; f=g", "X-Own: mine"); got != "DELETE /a?b=c "+host+" d=e; f=g mine" {
					t.Errorf("answered %q", got)
				}
				for _, length := range []int{len(large), -1} {
					if _, got := asked(t, h, "POST", url+"/echo", bytes.NewReader(large), length); got != string(large) {
						t.Errorf("of length %d: %d bytes came back", length, len(got))
					}
				}
				if res, got := asked(t, h, "GET", url+"/trailers", nil, 0); got != "body" || res.Trailer.Get("X-Sum") != "1" {
					t.Errorf("answered %q with trailers %v", got, res.Trailer)
				}
				if res, got := asked(t, h, "GET", url+"/large", nil, 0); len(got) != 5_000_000 {
					t.Errorf("%d bytes, status %d", len(got), res.StatusCode)
				}
				if res, got := asked(t, h, "GET", url+"/none", nil, 0); res.StatusCode != 204 || got != "" {
					t.Errorf("answered %d %q", res.StatusCode, got)
				}
				if res, got := asked(t, h, "POST", url+"/early", strings.NewReader("abc"), 3); res.StatusCode != 403 || got != "no" {
					t.Errorf("answered early %d %q", res.StatusCode, got)
				}
				hints := hintsOf(t, h, url+"/hints")
				if len(hints) != 1 || hints[0] != "103 </a.css>; rel=preload" {
					t.Errorf("hinted at %q", hints)
				}
				// What is cut never ends well, however much of it has come.
				if res, err := h.Get(url + "/cut"); err == nil {
					if b, err := io.ReadAll(res.Body); res.StatusCode == 200 && (err == nil || !strings.HasPrefix("part", string(b))) {
						t.Errorf("what is cut is read as %q, %v", b, err)
					}
					res.Body.Close()
				}
				// It closes each connection with its answer.
				for range 30 {
					if _, got := asked(t, h, "GET", url+"/last", nil, 0); got != "the last" {
						t.Errorf("answered %q", got)
					}
				}
			})
		}
	}
}

// hintsOf returns the 1xx answers to a request.
func hintsOf(t *testing.T, h *http.Client, url string) (all []string) {
	t.Helper()
	ctx := httptrace.WithClientTrace(within(t), &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		all = append(all, fmt.Sprint(code, " ", fields.Get("Link")))
		return nil
	}})
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "hinted" {
		t.Errorf("answered %q, %v", b, err)
	}
	return all
}
