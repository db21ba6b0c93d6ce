package main

import (
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"serai/nomad"
)

// cutter is an instance of gRPC that ends each answer with a reset, after what the path says.
func cutter(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc+proto")
		io.WriteString(w, cuts[strings.TrimPrefix(r.URL.Path, "/cut/")].sent)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})}
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().String()
}

const (
	oneMessage = "\x00\x00\x00\x00\x03\x0a\x01x"
	cutMessage = "\x80\x00\x00\x00\x33grpc-status: 14\r\ngrpc-message: the answer was cut\r\n"
)

// cuts are answers that are cut, and whether a client can be told so by trailers.
var cuts = map[string]struct {
	sent string
	told bool
}{
	"Head":    {"", true},
	"One":     {oneMessage, true},
	"Two":     {oneMessage + oneMessage, true},
	"Empty":   {oneMessage + "\x00\x00\x00\x00\x00", true},
	"Prefix":  {oneMessage + "\x00\x00", false},
	"Within":  {oneMessage + "\x00\x00\x00\x01\x00half", false},
	"Longest": {"\x00\xff\xff\xff\xffabc", false},
}

// TestGRPCWebIsCut: an answer that the instance cuts between two messages ends with trailers that
// say UNAVAILABLE, as it does for gRPC. Within a message it is cut for the client, too.
func TestGRPCWebIsCut(t *testing.T) {
	_, address := serveStatic(t, []nomad.Registration{registered(cutter(t), grpcHost, "ingress.scheme=grpc", "ingress.grpc-web=on", "ingress.retries=0")})
	for protocol, h := range webClients(t, address) {
		for name, c := range cuts {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				s, err := connect.NewClient[message, message](h, "http://"+grpcHost+"/cut/"+name, connect.WithGRPCWeb()).CallServerStream(within(t), connect.NewRequest(new(message)))
				if err != nil {
					t.Fatal(err)
				}
				got := 0
				for s.Receive() {
					got++
				}
				err = s.Err()
				s.Close()
				if whole := strings.Count(c.sent, oneMessage); c.told && (connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "the answer was cut") || got < whole) || err == nil {
					t.Errorf("%d messages, and then %v", got, err)
				}
				for _, media := range []string{"application/grpc-web", "application/grpc-web-text"} {
					r, _ := http.NewRequestWithContext(within(t), "POST", "http://"+grpcHost+"/cut/"+name, strings.NewReader(base64.StdEncoding.EncodeToString(make([]byte, 5))))
					r.Header.Set("Content-Type", media)
					res, err := h.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if (err == nil) != c.told || res.StatusCode != 200 {
						t.Fatalf("as %s it ends with %v, %d", media, err, res.StatusCode)
					}
					if !c.told {
						continue
					}
					got := string(body)
					if strings.HasSuffix(media, "text") {
						got = decodeParts(t, got)
					}
					if got != c.sent+cutMessage {
						t.Errorf("as %s it is %q", media, got)
					}
				}
			})
		}
	}
}

// TestGRPCWebInDrain: a stream that serai cuts at the end of a drain ends over HTTP/2 as if its
// instance had cut it. Over HTTP/1 the connection ends.
func TestGRPCWebInDrain(t *testing.T) {
	i := newGRPCInstance(t, "a")
	p, address := serveStatic(t, []nomad.Registration{i.registration("ingress.scheme=grpc", "ingress.grpc-web=on")}, "--drain-timeout=1s", "--drain-delay=0s")
	ends := make(map[string]func() error)
	for protocol, h := range webClients(t, address) {
		h.Timeout = 0
		r := connect.NewRequest(new(message))
		r.Header().Set("hang-name", "x")
		r.Header().Set("hang-late", "late")
		s, err := connect.NewClient[message, message](h, "http://"+grpcHost+"/own/Hang", connect.WithGRPCWeb()).CallServerStream(within(t), r)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Receive() || string(s.Msg().Value) != "first" {
			t.Fatalf("over %s the first message is %v", protocol, s.Err())
		}
		ends[protocol] = func() error {
			defer s.Close()
			for s.Receive() {
			}
			return s.Err()
		}
	}
	p.stop()
	for protocol, end := range ends {
		err := end()
		if err == nil || protocol == "HTTP/2" && (connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "the answer was cut")) {
			t.Errorf("over %s it ends with %v", protocol, err)
		}
	}
}
