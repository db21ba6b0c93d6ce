package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// strangersAttacks need only the listener, or a host that a tenant serves.
func strangersAttacks() []attack {
	overloaded := func(a *arena) (string, error) {
		if !a.alive() {
			return "", fmt.Errorf("serai does not answer")
		}
		return fmt.Sprintf("of %.0f connections %.0f are refused, and %.0f answered by serai, 503 `overloaded` %.0f of them; %.0f MiB resident", a.metric("serai_connections_accepted_total")+a.metric("serai_connections_refused_total"),
			a.metric("serai_connections_refused_total"), a.metric("serai_answers_total"), a.labelled(`serai_answers_total{reason="overloaded"}`), mib(a.rss())), nil
	}
	flood := func(kind string) func(a *arena) (func(), error) {
		return func(a *arena) (func(), error) { return startHelper(a.ctx, "flood", a.address(), "--kinds="+kind) }
	}
	return []attack{
		{name: "heads", who: "stranger", what: "2,500 heads of 60 KB that never end", before: "the process was killed", begin: flood("heads"), outcome: overloaded},
		{name: "bodies", who: "stranger", what: "2,500 bodies of which 60 of 64 KiB come", before: "the process was killed", begin: flood("bodies"), outcome: overloaded},
		{name: "chunks", who: "stranger", what: "1,000 chunked bodies of a byte every three seconds", before: "not done", begin: flood("chunks"), outcome: overloaded},
		{name: "readers", who: "stranger", what: "500 readers of 10 MB that take 1,000 bytes every three seconds", before: "not done", begin: flood("readers"), outcome: overloaded},
		{name: "waiting", who: "client of a tenant", what: "1,000 POSTs of 74 bytes wait for an instance that never comes", before: "`queue-full` for all other routes",
			begin: func(a *arena) (func(), error) {
				a.register(evil, "never", 0, "127.0.0.1", 9, "ingress.host=never.loadtest")
				a.register("honest", "soon", 0, "127.0.0.1", 9, "ingress.host=soon.loadtest")
				return startHelper(a.ctx, "flood", a.address(), "--kinds=waiting")
			},
			outcome: func(a *arena) (string, error) {
				if status := answerWithin(a.address(), "POST / HTTP/1.1\r\nHost: soon.loadtest\r\nContent-Length: 4\r\n\r\nbody", time.Second); status != 0 {
					return "", fmt.Errorf("a request to another route that has no instance yet is answered %d at once", status)
				}
				return "a request to another route still waits for its instance", nil
			}},
		{name: "places", who: "client of a tenant", what: "8 bodies of 1,000 bytes that come at a byte a second, `max-inflight=4`", before: "the service was held", tags: []string{"ingress.max-inflight=4"},
			begin: func(a *arena) (func(), error) {
				var conns []net.Conn
				for i := range 8 {
					c, err := dialer(i).Dial("tcp", a.address())
					if err != nil {
						return nil, err
					}
					conns = append(conns, c)
					go drip(c, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 1000\r\n\r\n")
				}
				return func() {
					for _, c := range conns {
						c.Close()
					}
				}, nil
			},
			outcome: func(a *arena) (string, error) {
				if status := answerWithin(a.address(), "GET / HTTP/1.1\r\nHost: web.loadtest\r\n\r\n", 20*time.Second); status != 200 {
					return "", fmt.Errorf("the next request of the service is answered %d", status)
				}
				return "they take no place before they are whole: the next request is answered", nil
			}},
	}
}

// drip sends the beginning of a request, and then a byte a second until that fails.
func drip(c net.Conn, begin string) {
	for _, err := io.WriteString(c, begin); err == nil; _, err = io.WriteString(c, "a") {
		time.Sleep(time.Second)
	}
}

// answerWithin sends a request over a new connection, and returns the status of the
// answer if it comes in time; 0 for none.
func answerWithin(address, request string, within time.Duration) (status int) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return -1
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(within))
	io.WriteString(c, request)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// page sends a request over a new connection, and returns all bytes that come until it
// is closed.
func page(address, request string) string {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, request)
	var all strings.Builder
	io.Copy(&all, io.LimitReader(c, 1<<20))
	return all.String()
}
