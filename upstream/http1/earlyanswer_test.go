package http1

import (
	"io"
	"net"
	"testing"
	"time"

	"serai/upstream"
	"serai/wire"
)

// inParts is a connection that writes its second part only when the peer has closed, as TLS
// does by chance: it writes each record by itself.
type inParts struct {
	net.Conn
	closed chan struct{}
	writes int
}

func (c *inParts) Write(b []byte) (int, error) {
	if c.writes++; c.writes > 1 {
		<-c.closed
	}
	return c.Conn.Write(b)
}

// TestAnswerBeforeTheBodyIsSent: an instance that answers before it has read a request, and
// closes, has answered, although the rest of the request cannot be sent any more. Its
// connection is not used again, whatever it says.
func TestAnswerBeforeTheBodyIsSent(t *testing.T) {
	const refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
	for name, c := range map[string]struct {
		answer   string
		streamed bool
		status   int // 0 if it is a failure
		known    upstream.Processing
	}{
		"413":              {answer: refusal, status: 413},
		"413 to a stream":  {answer: refusal, streamed: true, status: 413},
		"413 after a 103":  {answer: "HTTP/1.1 103 Early Hints\r\n\r\n" + refusal, status: 413},
		"nothing":          {known: upstream.Unknown},
		"a part of a head": {answer: "HTTP/1.1 413 Too", known: upstream.Answered},
		"101":              {answer: "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", known: upstream.Answered},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				peer, err := l.Accept()
				if err != nil {
					return
				}
				defer peer.Close()
				peer.SetDeadline(time.Now().Add(long))
				io.ReadFull(peer, make([]byte, 10)) // what it leaves unread makes its close a reset
				io.WriteString(peer, c.answer)
			}()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			r := upstream.NewRegistry(upstream.RegistryOptions{Transport: New})
			e := r.Acquire(upstream.Target{Address: l.Addr().String(), Instance: "a"})
			defer r.Release(e)
			to := e.Transport().(*Transport).newConn(&inParts{Conn: nc, closed: closed}, "")
			defer to.Conn.End()

			q := request(&asking{})
			q.Head.Method, q.Head.Framing, q.Head.Size = []byte("POST"), wire.Length, 100<<10
			q.First, q.Complete = make([]byte, 100<<10), !c.streamed
			if c.streamed {
				q.Head.Size++
				q.Body = &rest{pieces: make(chan string), asked: make(chan struct{})}
			}
			if name == "101" {
				q.Head.Upgrade = []byte("x")
			}
			a := &upstream.Answer{Now: time.Now()}
			f := to.roundTrip(q, a)
			switch {
			case c.status == 0 && (f == nil || f.Processing != c.known):
				t.Errorf("%+v, answered %d; want a failure of %v", f, a.Head.Status, c.known)
			case c.status != 0 && (f != nil || a.Head.Status != c.status):
				t.Errorf("%+v, answered %d; want %d", f, a.Head.Status, c.status)
			case c.status == 413:
				if got, err := to.Next(); string(got) != "no" || err != nil {
					t.Errorf("the answer's body is %q, %v", got, err)
				}
			}
			if to.keepAlive {
				t.Error("the connection is kept")
			}
		})
	}
}
