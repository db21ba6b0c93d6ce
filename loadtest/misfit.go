package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"serai/nomad"
)

// failing is how a running instance fails the requests on one connection.
type failing func(c net.Conn)

// misfitCommand is such an instance as a process, for jobs on a real Nomad.
type misfitCommand struct {
	Kind string `arg:"" enum:"500,silent,half,slow"`
	Addr string `arg:"" help:"HOST:PORT to listen on."`
}

// Run serves until ctx ends.
func (m *misfitCommand) Run(ctx context.Context) error {
	l, err := net.Listen("tcp", m.Addr)
	if err != nil {
		return err
	}
	serveFailing(ctx, l, map[string]failing{"500": answers500, "silent": neverAnswers, "half": cutsAnswers, "slow": isSlow}[m.Kind])
	return nil
}

// serveFailing accepts connections until ctx ends.
func serveFailing(ctx context.Context, l net.Listener, behave failing) {
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { c.Close() })
		go func() {
			defer stop()
			defer c.Close()
			behave(c)
		}()
	}
}

// join adds a failing instance, and removes it again.
func join(behave failing) func(*testbed) error {
	return func(s *testbed) error {
		ctx, leave := context.WithCancel(s.ctx)
		defer leave()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go serveFailing(ctx, l, behave)
		r := registration("web", "ffffffff-0000-4000-8000-000000000000", l.Addr().String(), s.instances[0].reg.Tags)
		s.sim.Register(r)
		tellParts(s.load)
		s.sim.Deregister(nomad.DefaultNamespace, r.ID)
		return nil
	}
}

// tellParts prints what clients see in the first seconds and in the next ones.
func tellParts(l *load) {
	const seconds = 4
	for i := range 3 {
		l.begin(fmt.Sprintf("seconds %d to %d", i*seconds, (i+1)*seconds))
		time.Sleep(seconds * time.Second)
	}
	l.begin("after it has gone")
}

// each reads requests and hands them to answer until it says to stop.
func each(c net.Conn, answer func(*http.Request) (again bool)) {
	r := bufio.NewReader(c)
	for {
		q, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		b := make([]byte, 64)
		for err == nil {
			_, err = q.Body.Read(b)
		}
		if !answer(q) {
			return
		}
	}
}

func answers500(c net.Conn) {
	each(c, func(*http.Request) bool {
		_, err := c.Write([]byte("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nno\n"))
		return err == nil
	})
}

// neverAnswers reads and is silent.
func neverAnswers(c net.Conn) {
	each(c, func(*http.Request) bool { return true })
}

// cutsAnswers resets the connection after half an answer.
func cutsAnswers(c net.Conn) {
	each(c, func(*http.Request) bool {
		c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it"))
		c.(*net.TCPConn).SetLinger(0)
		return false
	})
}

// isSlow answers after 100 ms, where the others take one.
func isSlow(c net.Conn) {
	each(c, func(*http.Request) bool {
		time.Sleep(100 * time.Millisecond)
		_, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow\n"))
		return err == nil
	})
}
