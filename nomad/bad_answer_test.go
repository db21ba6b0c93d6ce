package nomad_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"serai/nomad"
	"serai/nomad/nomadsim"
)

// call is a request of the package: how its errors begin, and the request, which
// returns how much it received.
type call struct {
	name string
	op   string
	do   func(context.Context, *nomad.Client) (int, error)
}

var calls = []call{
	{"services", `list services in namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Services(ctx, nomad.Query{})
		return len(got), err
	}},
	{"all services", `list services in namespace "*": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Services(ctx, nomad.Query{Namespace: nomad.AllNamespaces, Stale: true})
		return len(got), err
	}},
	{"service", `read service "shop" in namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Service(ctx, "shop", nomad.Query{})
		return len(got), err
	}},
	{"namespaces", `list namespaces: `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Namespaces(ctx, nomad.Query{})
		return len(got), err
	}},
	{"variables", `list variables "serai/*" in namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Variables(ctx, "serai/", nomad.Query{})
		return len(got), err
	}},
	{"variable", `read variable "serai/a" in namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		got, _, err := c.Variable(ctx, "serai/a", nomad.Query{})
		return count(got), err
	}},
	{"write", `write variable "serai/a" in namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		v := nomad.Variable{VariableMeta: nomad.VariableMeta{Path: "serai/a"}, Items: map[string]string{"k": "v"}}
		got, err := c.PutVariable(ctx, v)
		return count(got), err
	}},
	{"stream", `subscribe to service events of namespace "default": `, func(ctx context.Context, c *nomad.Client) (int, error) {
		s, err := c.Stream(ctx, "default", 1)
		if err != nil {
			return 0, err
		}
		defer s.Close()
		return 1, nil
	}},
}

func count(v *nomad.Variable) int {
	if v == nil {
		return 0
	}
	return 1
}

var (
	// indexed are the calls whose answer must have an index.
	indexed = []string{"services", "all services", "service", "namespaces", "variables", "variable"}
	lists   = []string{"services", "all services", "service", "namespaces", "variables"}
	single  = []string{"variable", "write"}
)

// badAnswer is a possible answer of something that listens at the agent's address.
type badAnswer struct {
	name string
	// Either serve answers, or raw is sent.
	serve http.HandlerFunc
	raw   string
	kind  error
	says  []string
	// only names the calls that it is for; nil is all. stream replaces kind for the
	// event stream.
	only   []string
	stream error
}

// fault is a fault of the simulator as a server.
func fault(f nomadsim.Fault) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { f(w, r, http.NotFoundHandler()) }
}

// answer is 200 with an index and a body.
func answer(body string) http.HandlerFunc { return fault(nomadsim.Body("application/json", 7, body)) }

// hang sends a head and the beginning of a body, and then nothing until the
// client leaves.
func hang(begin string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // otherwise nothing detects that the client has left
		w.Header().Set("X-Nomad-Index", "7")
		io.WriteString(w, begin)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
}

const head200 = "HTTP/1.1 200 OK\r\nX-Nomad-Index: 7\r\nContent-Type: application/json\r\n"

var badAnswers = []badAnswer{
	// Refusals, in an agent's words.
	{name: "401", serve: fault(nomadsim.Status(401, "Unauthorized")), kind: nomad.ErrTokenRefused,
		says: []string{"answered 401", "identity", "NOMAD_TOKEN"}},
	{name: "403", serve: fault(nomadsim.Forbidden()), kind: nomad.ErrForbidden,
		says: []string{`answered 403 "Permission denied"`, "add it to the policy"}},
	{name: "403 unknown token", serve: fault(nomadsim.Status(403, "ACL token not found")), kind: nomad.ErrTokenRefused,
		says: []string{"unknown or expired"}},
	{name: "429", serve: fault(nomadsim.Status(429, "Too Many Requests")), kind: nomad.ErrUnavailable,
		says: []string{"answered 429", "http_max_conns_per_client"}},
	{name: "an unknown region", serve: fault(nomadsim.Status(500, "No path to region")), kind: nomad.ErrUnavailable, says: []string{"NOMAD_REGION names a region"}},
	{name: "500", serve: fault(nomadsim.Status(500, "rpc error: EOF")), kind: nomad.ErrUnavailable,
		says: []string{`answered 500 "rpc error: EOF"`, "log"}},
	{name: "no leader", serve: fault(nomadsim.NoLeader()), kind: nomad.ErrUnavailable, says: []string{"electing a leader"}},
	{name: "400", serve: fault(nomadsim.Status(400, "Invalid index")), kind: nil, says: []string{`answered 400 "Invalid index"`}},

	// Not an agent.
	{name: "404", serve: http.NotFound, kind: nomad.ErrBadAnswer, says: []string{"answered 404", "check NOMAD_ADDR"}},
	{name: "204", serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, kind: nomad.ErrBadAnswer,
		only: []string{"services", "service", "namespaces", "stream"}},
	{name: "page", serve: fault(nomadsim.WebPage()), kind: nomad.ErrBadAnswer, says: []string{"<!DOCTYPE html>", "NOMAD_ADDR"},
		only: lists},
	{name: "page line", serve: answer("<!DOCTYPE html>\n<title>Welcome</title>"), kind: nomad.ErrBadAnswer,
		says: []string{"<!DOCTYPE html>", "NOMAD_ADDR"}, only: []string{"stream"}},
	{name: "page of a proxy", serve: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(502)
		io.WriteString(w, "<html>\r\n<head><title>502 Bad Gateway</title>\x00</head>"+strings.Repeat("x", 10000))
	}, kind: nomad.ErrUnavailable, says: []string{"answered 502", "502 Bad Gateway</title>.</head>"}},
	{name: "page without index", serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>hello</html>") },
		kind: nomad.ErrBadAnswer, says: []string{"NOMAD_ADDR"}, only: append(indexed, "stream")},
	{name: "no index", serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") },
		kind: nomad.ErrBadAnswer, says: []string{"X-Nomad-Index", "proxy that drops headers"}, only: indexed},
	{name: "odd index", serve: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Nomad-Index", "-1")
		io.WriteString(w, "[]")
	}, kind: nomad.ErrBadAnswer, says: []string{`X-Nomad-Index is "-1"`}, only: indexed},
	{name: "list at index 0", serve: fault(nomadsim.Body("application/json", 0, `[{"Namespace":"default","Services":[{"ServiceName":"a"}]}]`)),
		kind: nomad.ErrBadAnswer, says: []string{"services but index 0"}, only: []string{"services", "all services"}},
	{name: "refused list", serve: answerAt0, kind: nomad.ErrForbidden, says: []string{"index 0", `namespace "*" { capabilities = ["read-job"] }`},
		only: []string{"services", "all services"}},

	// Bodies. A null, an object or a page must never read as none.
	{name: "empty", serve: answer(""), kind: nomad.ErrBadAnswer, says: []string{"the answer is empty"}, only: lists},
	{name: "null", serve: answer(" null\n"), kind: nomad.ErrBadAnswer, says: []string{"the answer is null"}, only: lists},
	{name: "null line", serve: answer("null\n"), kind: nomad.ErrBadAnswer, says: []string{`not a JSON object: "null"`}, only: []string{"stream"}},
	{name: "null variable", serve: answer("null"), kind: nomad.ErrBadAnswer, says: []string{"the answer is not a variable"}, only: single},
	{name: "error in JSON", serve: answer(`{"errors":["no route matched"]}`), kind: nomad.ErrBadAnswer},
	{name: "error line", serve: answer(`{"errors":["no route matched"]}` + "\n"), kind: nomad.ErrBadAnswer,
		says: []string{"no index", "no route matched"}, only: []string{"stream"}},
	{name: "truncated JSON", serve: answer(`[{"Namespace":"default","Serv`), kind: nomad.ErrBadAnswer,
		says: []string{"unexpected end of JSON input"}, only: lists},
	{name: "truncated variable", serve: answer(`{"Path":"serai/a","Items":{"k":"hunter2`), kind: nomad.ErrBadAnswer,
		says: []string{"is not JSON"}, only: single},
	{name: "two lists", serve: answer(`[][]`), kind: nomad.ErrBadAnswer, only: lists},
	{name: "deep", serve: answer(strings.Repeat("[", 20000)), kind: nomad.ErrBadAnswer, only: lists},
	{name: "number", serve: answer("7\n"), kind: nomad.ErrBadAnswer},
	{name: "list of numbers", serve: answer("[7]\n"), kind: nomad.ErrBadAnswer},
	{name: "list of null", serve: answer("[null]\n"), kind: nomad.ErrBadAnswer},
	{name: "list of nothing", serve: answer("[{}]\n"), kind: nomad.ErrBadAnswer},
	{name: "list of lists", serve: answer("[[]]\n"), kind: nomad.ErrBadAnswer},
	{name: "text", serve: answer(`"ok"` + "\n"), kind: nomad.ErrBadAnswer},
	{name: "wrong types", serve: answer(`[{"Namespace":7,"Services":"x","Name":[],"Path":{},"ID":false}]`), kind: nomad.ErrBadAnswer, only: lists},
	{name: "huge number", serve: answer(`[{"Namespace":` + strings.Repeat("9", 10000) + `,"Name":1e999,"Path":1e999}]`), kind: nomad.ErrBadAnswer, only: lists},
	{name: "wrong type of items", serve: answer(`{"Path":"serai/a","Namespace":"default","Items":{"k":7}}`), kind: nomad.ErrBadAnswer,
		says: []string{"wrong type"}, only: single},
	{name: "other variable", serve: answer(`{"Path":"serai/b","Namespace":"default"}`), kind: nomad.ErrBadAnswer,
		says: []string{`"serai/b"`}, only: []string{"variable"}},
	{name: "other namespace", serve: answer(`[{"Namespace":"shop","Services":[]}]`), kind: nomad.ErrBadAnswer,
		says: []string{`namespace "shop"`}, only: []string{"services"}},
	{name: "services missing", serve: answer(`[{"Namespace":"default"}]`), kind: nomad.ErrBadAnswer,
		says: []string{"without its services"}, only: []string{"services", "all services"}},
	{name: "services null", serve: answer(`[{"Namespace":"default","Services":null}]`), kind: nomad.ErrBadAnswer,
		only: []string{"services", "all services"}},
	{name: "service without name", serve: answer(`[{"Namespace":"default","Services":[{"Tags":["x"]}]}]`), kind: nomad.ErrBadAnswer,
		says: []string{"has no name"}, only: []string{"services", "all services"}},
	{name: "other service", serve: answer(`[{"ID":"i","ServiceName":"cart","Namespace":"default"}]`), kind: nomad.ErrBadAnswer,
		says: []string{`has service "cart"`}, only: []string{"service"}},
	{name: "instance without ID", serve: answer(`[{"ServiceName":"shop","Namespace":"default"}]`), kind: nomad.ErrBadAnswer,
		says: []string{`has ID ""`}, only: []string{"service"}},
	{name: "port as text", serve: answer(`[{"ID":"i","ServiceName":"shop","Namespace":"default","Port":"80"}]`), kind: nomad.ErrBadAnswer,
		says: []string{"Port"}, only: []string{"service"}},
	{name: "event without registration", kind: nomad.ErrBadAnswer, says: []string{"has no registration"}, only: []string{"stream"},
		serve: answer(`{"Index":9,"Events":[{"Topic":"Service","Type":"ServiceRegistration","Index":9,"Payload":{}}]}` + "\n")},
	{name: "event without type", kind: nomad.ErrBadAnswer, says: []string{"has no type"}, only: []string{"stream"},
		serve: answer(`{"Index":9,"Events":[{"Topic":"Service","Payload":{"Service":{"ID":"i","ServiceName":"s","Namespace":"n"}}}]}` + "\n")},
	{name: "truncated line", serve: answer(`{"Index":9,"Even` + "\n"), kind: nomad.ErrBadAnswer, only: []string{"stream"}},

	// Too much.
	{name: "huge", serve: fault(nomadsim.Endless(1 << 20)), kind: nomad.ErrBadAnswer, says: []string{"longer than"}},
	{name: "gzip bomb", serve: fault(nomadsim.Bomb(1 << 20)), kind: nomad.ErrBadAnswer},
	{name: "huge head", serve: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Nomad-Index", strings.Repeat("7", 1<<20))
		io.WriteString(w, "[]")
	}, kind: nomad.ErrBadAnswer, says: []string{"NOMAD_ADDR"}},

	// Too late.
	{name: "slow head", serve: fault(nomadsim.Slow(time.Hour)), kind: nomad.ErrUnreachable, stream: nomad.ErrStreamSilent},
	{name: "slow body", serve: hang("["), kind: nomad.ErrUnreachable, stream: nomad.ErrStreamSilent},
	{name: "200 and silence", serve: fault(nomadsim.Silent()), kind: nomad.ErrUnreachable, stream: nomad.ErrStreamSilent},

	// Cut short.
	{name: "200 and end", serve: answer(""), kind: nomad.ErrStreamRefused, says: []string{"read-job"}, only: []string{"stream"}},
	{name: "closed", raw: "", kind: nomad.ErrUnreachable, says: []string{"closed without an answer"}},
	{name: "body cut", raw: head200 + "Content-Length: 100\r\n\r\n[{", kind: nomad.ErrBadAnswer, says: []string{"cut short"}},
	{name: "chunk cut", raw: head200 + "Transfer-Encoding: chunked\r\n\r\n10\r\n[{", kind: nomad.ErrBadAnswer, says: []string{"cut short"}},
	{name: "head cut", raw: "HTTP/1.1 200 OK\r\nX-Noma", kind: nomad.ErrBadAnswer},

	// No HTTP.
	{name: "garbage", raw: "SSH-2.0-OpenSSH_9.9\r\n", kind: nomad.ErrBadAnswer, says: []string{"SSH-2.0", "NOMAD_ADDR"}},
	{name: "zeroes", raw: strings.Repeat("\x00", 1<<17), kind: nomad.ErrBadAnswer},
	{name: "TLS alert", raw: "\x15\x03\x01\x00\x02\x02\x46", kind: nomad.ErrBadAnswer, says: []string{"https://"}},
	{name: "bad chunk", raw: head200 + "Transfer-Encoding: chunked\r\n\r\nzz\r\n[]", kind: nomad.ErrBadAnswer},
	{name: "bad length", raw: head200 + "Content-Length: -5\r\n\r\n[]", kind: nomad.ErrBadAnswer},
	{name: "bad gzip", raw: head200 + "Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!", kind: nomad.ErrBadAnswer},
}

func answerAt0(w http.ResponseWriter, r *http.Request) {
	nomadsim.Empty(0)(w, r, nil)
}

// TestBadAnswers gives every call every answer.
func TestBadAnswers(t *testing.T) {
	for _, bad := range badAnswers {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			var url string
			if bad.serve != nil {
				url = serve(t, bad.serve)
			} else {
				url = speak(t, bad.raw)
			}
			// A limit that only late answers should exceed is long, because a machine
			// may be busy.
			limits := nomad.Limits{Answer: 1 << 16, Line: 1 << 12, Request: testTimeout, FirstLine: testTimeout}
			if bad.stream == nomad.ErrStreamSilent {
				limits.Request, limits.FirstLine = 500*time.Millisecond, 500*time.Millisecond
			}
			heard := 0
			c := connect(t, nomad.Options{Address: url, Limits: limits, OnRequest: func(_ string, err error) {
				if heard++; err == nil {
					t.Error("OnRequest heard of success")
				}
			}})

			for _, call := range calls {
				if bad.only != nil && !slices.Contains(bad.only, call.name) {
					continue
				}
				kind := bad.kind
				if call.name == "stream" && bad.stream != nil {
					kind = bad.stream
				}
				before := heard
				n, err := call.do(testContext(t), c)
				if err == nil || n != 0 {
					t.Errorf("%s: got %d and error %v; want nothing and an error", call.name, n, err)
					continue
				}
				check(t, err, kind, append(bad.says, call.op)...)
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v\nshows a variable's value", err)
				}
				if heard != before+1 {
					t.Errorf("%s: OnRequest heard %d times; want once", call.name, heard-before)
				}
			}
		})
	}
}

// TestBadAnswersDoNotStay asks again once the agent works: a bad answer has no lasting
// effect.
func TestBadAnswersDoNotStay(t *testing.T) {
	sim := nomadsim.New(nomadsim.Options{})
	sim.Register(nomad.Registration{ServiceName: "shop", Address: "127.0.0.1", Port: 80})
	c := connect(t, nomad.Options{Address: simulate(t, sim)})
	for i, f := range []nomadsim.Fault{
		nomadsim.Truncated(), nomadsim.Status(500, ""), nomadsim.WebPage(), nomadsim.Redirect("/v1/services?again"),
	} {
		remove := sim.Inject(nomad.KindServices, f)
		if got, _, err := c.Services(testContext(t), nomad.Query{}); err == nil || got != nil {
			t.Errorf("fault %d: %v, %v; want an error", i, got, err)
		}
		remove()
		if got, _, err := c.Services(testContext(t), nomad.Query{}); err != nil || len(got) != 1 {
			t.Errorf("after fault %d: %v, %v; want the service", i, got, err)
		}
	}
}

// TestRedirectIsNotFollowed keeps the token from strangers.
func TestRedirectIsNotFollowed(t *testing.T) {
	var visits atomic.Int64
	stranger := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := connect(t, nomad.Options{Address: serve(t, http.RedirectHandler(stranger, status))})
		for _, call := range calls {
			_, err := call.do(testContext(t), c)
			check(t, err, nomad.ErrBadAnswer, call.op, fmt.Sprint("answered ", status), "the agent's own address")
		}
	}
	if visits.Load() != 0 {
		t.Errorf("%d requests went to where the redirects point", visits.Load())
	}
}

// TestCallerEnds distinguishes the caller's cancellation from an agent's fault.
func TestCallerEnds(t *testing.T) {
	begun := make(chan struct{}, 1)
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	c := connect(t, nomad.Options{Address: url})
	mine := errors.New("we are going home")
	for _, call := range calls {
		ctx, cancel := context.WithCancelCause(testContext(t))
		go func() {
			<-begun
			cancel(mine)
		}()
		_, err := call.do(ctx, c)
		check(t, err, nil, call.op, mine.Error())
		if !errors.Is(err, mine) {
			t.Errorf("%s: %v; want the cause", call.name, err)
		}
	}
}

// TestBadRequests: requests that are refused before they are sent.
func TestBadRequests(t *testing.T) {
	ctx := testContext(t)
	c := connect(t, nomad.Options{Address: serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was sent", r.URL)
	}))})
	for _, name := range []string{"", ".", "..", "a/b", "../vars"} {
		_, _, err := c.Service(ctx, name, nomad.Query{})
		check(t, err, nomad.ErrUnaskable, fmt.Sprintf("read service %.20q", name))
	}
	_, _, err := c.Service(ctx, "shop", nomad.Query{Namespace: nomad.AllNamespaces})
	check(t, err, nil, "one namespace", "name it")
	for _, path := range []string{"", "a.b", "a@b", "a?b", strings.Repeat("x", 129)} {
		_, _, err := c.Variable(ctx, path, nomad.Query{})
		check(t, err, nil, "read variable", "nomad does not accept this path", "128")
	}
	_, _, err = c.Variable(ctx, "a", nomad.Query{Namespace: nomad.AllNamespaces})
	check(t, err, nil, "one namespace")
	_, err = c.PutVariable(ctx, nomad.Variable{VariableMeta: nomad.VariableMeta{Path: "a"}})
	check(t, err, nil, "write variable", "it has no items", "delete it instead")
	check(t, c.AcquireLock(ctx, nomad.Lock{Path: "a"}, nil), nil, "acquire lock", "NewLockID")
	check(t, c.RenewLock(ctx, nomad.Lock{Path: "a.b", ID: "x"}), nil, "renew lock", "nomad does not accept this path")
}
