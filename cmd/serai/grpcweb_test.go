package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"serai/nomad"
)

// webClients speak HTTP/1 and HTTP/2.
func webClients(t *testing.T, address string) map[string]*http.Client {
	t.Helper()
	all := make(map[string]*http.Client)
	for name, set := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		set(transport.Protocols)
		t.Cleanup(transport.CloseIdleConnections)
		all[name] = &http.Client{Transport: transport, Timeout: long}
	}
	return all
}

// TestGRPCWeb has connect's client of gRPC-Web, and one by hand with base64, speak with an
// instance of gRPC.
func TestGRPCWeb(t *testing.T) {
	i := newGRPCInstance(t, "a")
	_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.scheme=grpc", "ingress.grpc-web=on", "ingress.retries=0")})
	for name, h := range webClients(t, address) {
		t.Run(name, func(t *testing.T) {
			ctx := within(t)
			client := func(method string) *connect.Client[message, message] {
				return connect.NewClient[message, message](h, "http://"+grpcHost+method, connect.WithGRPCWeb(), connect.WithSendGzip(), connect.WithCompressMinBytes(1000))
			}
			for _, n := range []int{0, 1, 5, 100_000, 3 << 20} {
				value := bytes.Repeat([]byte("x"), n)
				r := connect.NewRequest(&message{Value: value})
				r.Header().Set("own-plain", "plain")
				r.Header().Set("own-bytes-bin", connect.EncodeBinaryHeader([]byte("\x00\xff")))
				a, err := client("/own/Echo").CallUnary(ctx, r)
				if err != nil || !bytes.Equal(a.Msg.Value, value) {
					t.Fatalf("%d bytes: %v", n, err)
				}
				if got := a.Header().Get("own-plain") + a.Trailer().Get("own-plain") + a.Trailer().Get("own-bytes-bin"); got != "plainplain"+connect.EncodeBinaryHeader([]byte("\x00\xff")) {
					t.Errorf("the metadata is %q", got)
				}
			}
			for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
				for _, late := range []string{"", "late"} {
					r := connect.NewRequest(new(message))
					r.Header().Set("fail-code", fmt.Sprint(int(code)))
					r.Header().Set("fail-late", late)
					r.Header().Set("fail-message-bin", connect.EncodeBinaryHeader([]byte("größer als 100 %\n")))
					s, err := client("/own/Fail").CallServerStream(ctx, r)
					if err == nil {
						for s.Receive() {
						}
						err = s.Err()
						s.Close()
					}
					if connect.CodeOf(err) != code || err == nil || !strings.Contains(err.Error(), "größer als 100 %\n") {
						t.Errorf("code %d, late %q: %v", code, late, err)
					}
				}
			}
			if _, err := client("/own/Nothing").CallUnary(ctx, connect.NewRequest(new(message))); connect.CodeOf(err) != connect.CodeUnimplemented {
				t.Errorf("an unknown method: %v", err)
			}
		})
		t.Run(name+" in base64", func(t *testing.T) {
			post := func(method, body, accept string) (*http.Response, string) {
				r, err := http.NewRequestWithContext(within(t), "POST", "http://"+grpcHost+method, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", "application/grpc-web-text+proto")
				if accept != "" {
					r.Header.Set("Accept", accept)
				}
				res, err := h.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				return res, string(got)
			}
			// Two messages, each in base64 of its own, as they may be.
			one, two := []byte{0, 0, 0, 0, 3, 0x0a, 1, 'x'}, []byte{0, 0, 0, 0, 4, 0x0a, 2, 'y', 'z'}
			body := base64.StdEncoding.EncodeToString(one) + base64.StdEncoding.EncodeToString(two)
			for accept, text := range map[string]bool{"": true, "application/grpc-web-text": true, "application/grpc-web+proto": false} {
				res, got := post("/own/Echo", body, accept)
				media := "application/grpc-web+proto"
				if text {
					media = "application/grpc-web-text+proto"
					got = decodeParts(t, got)
				}
				want := string(one) + string(two) + "\x80\x00\x00\x00"
				if res.StatusCode != 200 || res.Header.Get("Content-Type") != media || !strings.HasPrefix(got, want) || !strings.Contains(got, "grpc-status: 0\r\n") {
					t.Errorf("accepting %q: answered %d %v %q", accept, res.StatusCode, res.Header, got)
				}
			}
			for _, bad := range []string{"!!!!", "AAAA\nAAA", "AAAAA"} {
				res, got := post("/own/Echo", bad, "application/grpc-web+proto")
				if res.StatusCode != 200 || res.Header.Get("X-Serai-Reason") != "bad-base64" || !strings.Contains(got, "grpc-status: 13\r\n") {
					t.Errorf("%q is answered %d %v %q", bad, res.StatusCode, res.Header, got)
				}
			}
		})
	}
}

// decodeParts decodes base64 of which each part may end in padding.
func decodeParts(t *testing.T, s string) string {
	t.Helper()
	var all []byte
	for ; len(s) >= 4; s = s[4:] {
		b, err := base64.StdEncoding.DecodeString(s[:4])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return string(all)
}

// TestGRPCWebIsAskedFor: without the tag the request passes as it is, and refusals of serai's
// own are those of gRPC-Web with it.
func TestGRPCWebIsAskedFor(t *testing.T) {
	for tag, want := range map[string]connect.Code{"ingress.grpc-web=off": connect.CodeUnknown, "ingress.grpc-web=on": connect.CodeUnavailable} {
		i := newGRPCInstance(t, "a")
		i.ill = true
		_, address := serveStatic(t, []nomad.Registration{i.registration("ingress.scheme=grpc", "ingress.wait=0s", tag)})
		until(t, "the instance", func() bool { status, _ := get(address, grpcHost, "/"); return status != 503 })
		for name, h := range webClients(t, address) {
			who := connect.NewClient[message, message](h, "http://"+grpcHost+"/own/Who", connect.WithGRPCWeb())
			if _, err := who.CallUnary(within(t), connect.NewRequest(new(message))); connect.CodeOf(err) != want {
				t.Errorf("%s, %s: %v, want %v", tag, name, err, want)
			}
		}
		i.server.Stop()
		if want == connect.CodeUnavailable {
			for name, h := range webClients(t, address) {
				who := connect.NewClient[message, message](h, "http://"+grpcHost+"/own/Who", connect.WithGRPCWeb())
				if _, err := who.CallUnary(within(t), connect.NewRequest(new(message))); connect.CodeOf(err) != want || !strings.Contains(err.Error(), "(") {
					t.Errorf("%s without an instance: %v, want %v of serai's own", name, err, want)
				}
			}
		}
	}
}

// TestGRPCWebIsRefused: clients of gRPC-Web read refusals of policies as those of gRPC do,
// in what stands for trailers, also before anything else of the request is looked at.
func TestGRPCWebIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		tags   []string
		size   int
		code   connect.Code
		reason string
	}{
		"an address":  {[]string{"ingress.deny=127.0.0.0/8"}, 0, connect.CodePermissionDenied, "ip-denied"},
		"a rate":      {[]string{"ingress.rate=1/h"}, 0, connect.CodeUnavailable, "rate-limited"},
		"a closed":    {[]string{"ingress.allow=nobody"}, 0, connect.CodeUnavailable, "guard-refused"},
		"a long body": {[]string{"ingress.max-body=10"}, 1000, connect.CodeResourceExhausted, "body-too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newGRPCInstance(t, "a")
			_, address := serveStatic(t, []nomad.Registration{i.registration(append(c.tags, "ingress.scheme=grpc", "ingress.grpc-web=on", "ingress.cors=https://a.example.org")...)})
			for protocol, h := range webClients(t, address) {
				client := connect.NewClient[message, message](h, "http://"+grpcHost+"/own/Echo", connect.WithGRPCWeb())
				var err error
				for range 2 { // the first is within the rate
					r := connect.NewRequest(&message{Value: make([]byte, c.size)})
					r.Header().Set("Origin", "https://a.example.org")
					_, err = client.CallUnary(within(t), r)
				}
				var said *connect.Error
				if !errors.As(err, &said) || said.Code() != c.code || !strings.Contains(said.Message(), "("+c.reason+")") {
					t.Errorf("over %s: %v", protocol, err)
				} else if said.Meta().Get("X-Serai-Reason") != c.reason {
					t.Errorf("over %s: with %v", protocol, said.Meta())
				}
				// And by hand, in base64.
				for _, media := range []string{"application/grpc-web", "application/grpc-web-text"} {
					r, _ := http.NewRequest("POST", "http://"+grpcHost+"/own/Echo", strings.NewReader(base64.StdEncoding.EncodeToString(make([]byte, 5+c.size))))
					r.Header.Set("Content-Type", media)
					res, err := h.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if strings.HasSuffix(media, "text") {
						if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
							t.Errorf("over %s, %s: %v", protocol, media, err)
						}
					}
					if res.StatusCode != 200 || res.Header.Get("Content-Type") != media || !strings.HasPrefix(string(body), "\x80") || !strings.Contains(string(body), fmt.Sprintf("grpc-status: %d\r\n", c.code)) {
						t.Errorf("over %s, %s: %d %v %q", protocol, media, res.StatusCode, res.Header, body)
					}
				}
			}
		})
	}
}

// TestGRPCWebIsAnsweredEverywhere: clients of gRPC-Web read serai's own answers whatever the route
// says, and where there is none: to them anything else is an unknown error. Who says it by
// another method, or says two things, is not one.
func TestGRPCWebIsAnsweredEverywhere(t *testing.T) {
	gone, shut := newGRPCInstance(t, "gone"), newGRPCInstance(t, "shut")
	gone.server.Stop()
	_, address := serveStatic(t, []nomad.Registration{
		registered(fmt.Sprint("127.0.0.1:", gone.port), "gone.example.org", "ingress.path=/own", "ingress.scheme=grpc", "ingress.wait=0s"),
		registered(fmt.Sprint("127.0.0.1:", shut.port), "shut.example.org", "ingress.scheme=grpc", "ingress.deny=127.0.0.0/8"),
	})
	for _, c := range []struct {
		name, host, path string
		code             connect.Code
		reason           string
	}{
		{"an unknown host", "nobody.example.org", "/own/Who", connect.CodeUnimplemented, "no-host"},
		{"an unknown path", "gone.example.org", "/other/Who", connect.CodeUnimplemented, "no-path"},
		{"no instance", "gone.example.org", "/own/Who", connect.CodeUnavailable, "no-instance"},
		{"a policy", "shut.example.org", "/own/Who", connect.CodePermissionDenied, "ip-denied"},
		{"no request", "shut.example.org:65536", "/own/Who", connect.CodeInternal, "bad-host"},
	} {
		for protocol, h := range webClients(t, address) {
			t.Run(c.name+" over "+protocol, func(t *testing.T) {
				_, err := connect.NewClient[message, message](h, "http://"+c.host+c.path, connect.WithGRPCWeb()).CallUnary(within(t), connect.NewRequest(new(message)))
				var said *connect.Error
				if !errors.As(err, &said) || said.Code() != c.code || !strings.Contains(said.Message(), "("+c.reason+")") || said.Meta().Get("X-Serai-Reason") != c.reason {
					t.Errorf("connect is told %v", err)
				}
				for _, as := range []struct {
					method, media, accept string
					web, text             bool
				}{
					{"POST", "application/grpc-web", "", true, false}, {"POST", "application/grpc-web-text+proto", "", true, true},
					{"POST", "Application/Grpc-Web+proto; x=y", "application/grpc-web-text", true, true}, {"POST", "application/grpc-web-text", "application/grpc-web", true, false},
					{"PUT", "application/grpc-web", "", false, false}, {"POST", "application/grpc-webx", "", false, false}, {"POST", "text/plain", "application/grpc-web", false, false},
				} {
					r, err := http.NewRequestWithContext(within(t), as.method, "http://"+c.host+c.path, strings.NewReader("AAAAAAA="))
					if err != nil {
						t.Fatal(err)
					}
					r.Header.Set("Content-Type", as.media)
					if as.accept != "" {
						r.Header.Set("Accept", as.accept)
					}
					res, err := h.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil {
						t.Fatal(err)
					}
					got := string(body)
					if as.text {
						got = decodeParts(t, got)
					}
					if is := res.StatusCode == 200 && strings.HasPrefix(got, "\x80\x00\x00") && strings.Contains(got, fmt.Sprintf("grpc-status: %d\r\n", c.code)); is != as.web || res.Header.Get("X-Serai-Reason") != c.reason {
						t.Errorf("%+v is answered %d %v %q", as, res.StatusCode, res.Header, got)
					}
					if kept := res.Header.Get("Cache-Control"); kept != "no-store" {
						t.Errorf("%+v: a cache may keep the answer: %q", as, kept)
					}
				}
			})
		}
	}
}
