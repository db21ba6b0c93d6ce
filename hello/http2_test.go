package hello_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"serai/hello"
	"serai/hello/echo"
)

// h2c is a client of HTTP/2 by prior knowledge.
func h2c(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: bound}
}

// dialGRPC connects grpc-go's client.
func (s *running) dialGRPC(t *testing.T) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestHTTP2 has the same answers as HTTP/1.
func TestHTTP2(t *testing.T) {
	s := start(t, bound)
	c := h2c(t)
	for path, want := range map[string]struct {
		status int
		body   string
	}{
		"/healthz": {200, "ok\n"}, "/status/503": {503, "whoami answers 503\n"}, "/status/100": {400, "want /status/200 to /status/599\n"},
		"/bytes/5": {200, "\x00\x00\x00\x00\x00"}, "/bytes/-1": {400, "want /bytes/0 to /bytes/1073741824\n"}, "/slow?wait=1ms": {200, "whoami waited 1ms\n"},
		"/sse?every=1ms&count=2": {200, "id: 1\ndata: whoami a1\n\nid: 2\ndata: whoami a1\n\n"}, "/ws": {400, "WebSockets are for HTTP/1 here\n"},
	} {
		res, err := c.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.ProtoMajor != 2 || res.StatusCode != want.status || string(body) != want.body {
			t.Errorf("%s answered %s %d %q, %v; want %d %q", path, res.Proto, res.StatusCode, body, err, want.status, want.body)
		}
	}
	r, err := http.NewRequest("PUT", s.url+"/a%2Fb?x=1", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var a hello.Answer
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	if a.Name != "whoami" || a.Alloc != "a1" || a.Protocol != "HTTP/2.0" || a.Method != "PUT" || a.Path != "/a%2Fb" || a.Query != "x=1" || a.Body != 5 {
		t.Errorf("answered %+v", a)
	}
}

// TestHTTP2EchoStreams: what is sent comes back while more is to come.
func TestHTTP2EchoStreams(t *testing.T) {
	s := start(t, bound)
	from, to := io.Pipe()
	defer to.Close()
	go io.WriteString(to, "one")
	res, err := h2c(t).Post(s.url+"/echo", "text/x-own", from)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, word := range []string{"one", "two"} {
		got := make([]byte, 3)
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != word {
			t.Fatalf("%q came back, %v; want %q", got, err, word)
		}
		if word == "one" {
			io.WriteString(to, "two")
		}
	}
	to.Close()
	if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 || res.Header.Get("Content-Type") != "text/x-own" {
		t.Errorf("then %q, %v, of type %q", rest, err, res.Header.Get("Content-Type"))
	}
}

const (
	say    = "/" + echo.EchoName + "/Say"
	repeat = "/" + echo.EchoName + "/Repeat"
	talk   = "/" + echo.EchoName + "/Talk"
)

// TestGRPC asks each method with the client of grpc-go.
func TestGRPC(t *testing.T) {
	s := start(t, bound)
	c := s.dialGRPC(t)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var said echo.SayResponse
	if err := c.Invoke(ctx, say, &echo.SayRequest{Text: "hé"}, &said); err != nil || said.Text != "hé" || said.Name != "whoami" || said.Alloc != "a1" || said.Node != "n1" {
		t.Errorf("said %v, %v", &said, err)
	}
	err := c.Invoke(ctx, say, &echo.SayRequest{Text: "nö", Code: uint32(codes.AlreadyExists)}, &said)
	if got := status.Convert(err); got.Code() != codes.AlreadyExists || got.Message() != "nö" {
		t.Errorf("failed with %v", err)
	}
	answers := s.repeat(t, ctx, c, &echo.RepeatRequest{Text: "again", Count: 3, Every: 1})
	for range 3 {
		if err := answers.RecvMsg(&said); err != nil || said.Text != "again" {
			t.Fatalf("repeated %v, %v", &said, err)
		}
	}
	if err := answers.RecvMsg(&said); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
	with := s.talk(t, ctx, c)
	for _, word := range []string{"one", "two"} {
		if err := with.SendMsg(&echo.SayRequest{Text: word}); err != nil {
			t.Fatal(err)
		}
		if err := with.RecvMsg(&said); err != nil || said.Text != word {
			t.Fatalf("answered %v, %v", &said, err)
		}
	}
	with.CloseSend()
	if err := with.RecvMsg(&said); err != io.EOF {
		t.Errorf("ended with %v", err)
	}
}

func (s *running) repeat(t *testing.T, ctx context.Context, c *grpc.ClientConn, r *echo.RepeatRequest) grpc.ClientStream {
	t.Helper()
	answers, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, repeat)
	if err != nil {
		t.Fatal(err)
	}
	if err := answers.SendMsg(r); err != nil {
		t.Fatal(err)
	}
	answers.CloseSend()
	return answers
}

func (s *running) talk(t *testing.T, ctx context.Context, c *grpc.ClientConn) grpc.ClientStream {
	t.Helper()
	with, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, talk)
	if err != nil {
		t.Fatal(err)
	}
	return with
}

// TestHealthAndReflection answers what checks and grpcurl ask.
func TestHealthAndReflection(t *testing.T) {
	s := start(t, bound)
	c := s.dialGRPC(t)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	for service, want := range map[string]codes.Code{"": codes.OK, echo.EchoName: codes.OK, "nobody": codes.NotFound} {
		a, err := health.NewHealthClient(c).Check(ctx, &health.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && a.Status != health.HealthCheckResponse_SERVING {
			t.Errorf("%q is %v, %v; want %v", service, a, err, want)
		}
	}
	ask, err := reflection.NewServerReflectionClient(c).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer ask.CloseSend()
	for _, r := range []*reflection.ServerReflectionRequest{
		{MessageRequest: &reflection.ServerReflectionRequest_ListServices{}},
		{MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: echo.EchoName}},
	} {
		if err := ask.Send(r); err != nil {
			t.Fatal(err)
		}
		if a, err := ask.Recv(); err != nil || !strings.Contains(a.String(), echo.EchoName) && a.GetFileDescriptorResponse() == nil {
			t.Errorf("answered %v, %v", a, err)
		}
	}
}

// TestStopHoldsForStreams: streams that end by themselves are finished, endless ones end
// with a status that clients try again, and connections with a GOAWAY.
func TestStopHoldsForStreams(t *testing.T) {
	s := start(t, bound)
	c := s.dialGRPC(t)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var said echo.SayResponse
	counted := s.repeat(t, ctx, c, &echo.RepeatRequest{Count: 10, Every: 50})
	endless := s.repeat(t, ctx, c, &echo.RepeatRequest{})
	talk := s.talk(t, ctx, c)
	if err := talk.SendMsg(&echo.SayRequest{Text: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []grpc.ClientStream{counted, endless, talk} {
		if err := stream.RecvMsg(&said); err != nil {
			t.Fatal(err)
		}
	}
	client := h2c(t)
	slow := make(chan string, 1)
	begun := make(chan bool)
	go func() {
		from, to := io.Pipe()
		go func() { io.WriteString(to, "x"); close(begun); time.Sleep(500 * time.Millisecond); to.Close() }()
		res, err := client.Post(s.url+"/echo", "text/plain", from)
		if err != nil {
			slow <- err.Error()
			return
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			slow <- err.Error()
			return
		}
		slow <- string(body)
	}()
	<-begun
	s.cancel()
	for name, stream := range map[string]grpc.ClientStream{"endless": endless, "talk": talk} {
		var err error
		for err == nil {
			err = stream.RecvMsg(&said)
		}
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s ended with %v", name, err)
		}
	}
	got := 1
	var err error
	for err = counted.RecvMsg(&said); err == nil; err = counted.RecvMsg(&said) {
		got++
	}
	if err != io.EOF || got != 10 {
		t.Errorf("%d answers of ten came, then %v", got, err)
	}
	if a := <-slow; a != "x" {
		t.Errorf("the slow echo is %q", a)
	}
	if err := s.stop(t); err != nil {
		t.Errorf("serve: %v", err)
	}
}

// TestStopCutsStreams that last longer, and counts them.
func TestStopCutsStreams(t *testing.T) {
	s := start(t, 100*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	counted := s.repeat(t, ctx, s.dialGRPC(t), &echo.RepeatRequest{Count: 1_000_000, Every: 10})
	var said echo.SayResponse
	if err := counted.RecvMsg(&said); err != nil {
		t.Fatal(err)
	}
	if err := s.stop(t); err == nil || !strings.Contains(err.Error(), "1 in flight were cut after 100ms") {
		t.Errorf("serve: %v", err)
	}
	var err error
	for err == nil {
		err = counted.RecvMsg(&said)
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the stream that was cut ended with %v", err)
	}
}
