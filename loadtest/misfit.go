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

// misfit is how an instance that is up fails the requests on one connection.
type misfit func(c net.Conn)

// join lets a misfit join the instances, tells what clients see in the first
// seconds and in the next ones, and takes it out again.
func join(behave misfit) func(*stage) error {
	return func(s *stage) error {
		ctx, leave := context.WithCancel(s.ctx)
		defer leave()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { l.Close() })
		go func() {
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
		}()
		r := registration("web", "ffffffff-0000-4000-8000-000000000000", l.Addr().String(), s.instances[0].reg.Tags)
		s.sim.Register(r)
		const part = 4 * time.Second
		for i := range 3 {
			s.load.begin(fmt.Sprintf("seconds %v to %v", (time.Duration(i) * part).Seconds(), (time.Duration(i+1) * part).Seconds()))
			time.Sleep(part)
		}
		s.load.begin("after it has gone")
		s.sim.Deregister(nomad.DefaultNamespace, r.ID)
		return nil
	}
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
