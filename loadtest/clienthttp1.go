package main

import (
	"fmt"
	"time"

	"github.com/valyala/fasthttp"
)

// http1Client sends GET, POST, and a larger body with PUT, on connections that are
// kept and on new ones, in turn.
type http1Client struct {
	host  string
	large string // the method with a larger body
	http  *fasthttp.HostClient
}

// clientTimeout is how long clients wait for an answer.
const clientTimeout = 30 * time.Second

func newHTTP1Client(address, host, large string) *http1Client {
	return &http1Client{host: host, large: large, http: &fasthttp.HostClient{
		Addr: address, MaxConns: 10_000, MaxIdemponentCallAttempts: 1, ReadTimeout: clientTimeout,
	}}
}

// largeBody is more than an instance reads at once. An instance that closes the
// connection may have read part of it, so that with POST nobody may repeat it.
var largeBody = body(20 << 10)

func (c *http1Client) name() string { return "HTTP/1" }
func (c *http1Client) close()       { c.http.CloseIdleConnections() }

func (c *http1Client) ask(i int) (failure string) {
	q, a := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(q)
	defer fasthttp.ReleaseResponse(a)
	q.SetRequestURI("http://" + c.host + "/")
	q.SetHost(c.host)
	if i%2 == 1 {
		q.Header.SetMethod(fasthttp.MethodPost)
		q.SetBodyString("a body")
		if i%8 >= 4 {
			q.Header.SetMethod(c.large)
			q.SetBodyRaw(largeBody)
		}
	}
	if i%4 >= 2 {
		q.SetConnectionClose()
	}
	err := c.http.Do(q, a)
	switch {
	case err != nil:
		return fmt.Sprintf("%s error: %v", q.Header.Method(), err)
	case a.StatusCode() != 200:
		return fmt.Sprintf("%s %d %s", q.Header.Method(), a.StatusCode(), a.Header.Peek("X-Serai-Reason"))
	}
	return ""
}
