package chaos

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// connTimeout is how long a connection may last. Nothing that is drawn takes as
// long.
const connTimeout = 20 * time.Second

// enough is how long a client goes on sending and reading on one connection.
const enough = 6 * time.Second

// visit is a client that runs.
type visit struct {
	*Client
	ledger *ledger
	tcp    *net.TCPConn
	conn   net.Conn
	r      *bufio.Reader
	opened time.Time
	wrote  atomic.Int64
	cookie string // what was given last, NAME=VALUE
	// Of the request that is being written; read when it has been.
	lastByte, halfClosed time.Time
	late                 time.Duration
	left                 atomic.Bool   // it has closed its connection by itself
	go100                chan struct{} // closed with the first sign of an answer
}

// run opens the connection, sends the requests and reads their answers.
func (c *Client) run(ctx context.Context, plain, secure string, l *ledger) {
	if !wait(ctx, c.Start) {
		return
	}
	address := plain
	if c.TLS {
		address = secure
	}
	v := &visit{Client: c, ledger: l}
	dialed, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		v.concludeAll(nil, c.Requests, endClosed, err.Error())
		return
	}
	v.tcp, v.conn = dialed.(*net.TCPConn), dialed
	defer v.tcp.Close()
	v.opened = time.Now()
	v.conn.SetDeadline(v.opened.Add(connTimeout))
	if c.Announced != "" {
		if _, err := v.tcp.Write(announcement(c.Announced)); err != nil {
			v.concludeAll(nil, c.Requests, endOf(err, true), err.Error())
			return
		}
	}
	if c.TLS {
		name, _ := hostname(c.Requests[0].Host)
		t := tls.Client(v.tcp, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err := t.Handshake(); err != nil {
			v.concludeAll(nil, c.Requests, endOf(err, true), err.Error())
			return
		}
		v.conn = t
	}
	var reader io.Reader = v.conn
	if c.ReadPiece > 0 {
		reader = &slowReader{Reader: v.conn, piece: c.ReadPiece, pause: c.ReadPause}
	}
	v.r = bufio.NewReader(reader)
	if c.Pipelined {
		v.pipeline(ctx)
	} else {
		v.oneByOne(ctx)
	}
}

// slowReader reads a little at a time, for a second in all: where a pause takes longer than
// it should, as on a busy machine, there are fewer, and nobody is as slow as --write-idle.
type slowReader struct {
	io.Reader
	piece  int
	pause  time.Duration
	waited time.Duration
}

func (s *slowReader) Read(p []byte) (int, error) {
	if s.waited < time.Second {
		began := time.Now()
		time.Sleep(s.pause)
		s.waited += max(s.pause, time.Since(began))
		p = p[:min(len(p), s.piece)]
	}
	return s.Reader.Read(p)
}

// oneByOne sends each request after the answer to the previous one.
func (v *visit) oneByOne(ctx context.Context) {
	var before *outcome
	for i, q := range v.Requests {
		o := v.outcome(q, before)
		o.cookie = v.cookie
		full, headed := q.bytes(v.cookie)
		all := full
		start := v.wrote.Load()
		v.lastByte, v.late = time.Time{}, 0
		v.go100 = make(chan struct{})
		written := make(chan struct{})
		go func() {
			defer close(written)
			if q.Expect {
				if !v.write(ctx, all[:headed], v.Piece) {
					return
				}
				select {
				case <-v.go100:
				case <-time.After(300 * time.Millisecond):
				}
				all = all[headed:]
			}
			if v.Trickles && !q.Expect {
				if !v.write(ctx, all[:headed], 0) {
					return
				}
				all = all[headed:]
			}
			if v.write(ctx, all, v.Piece) && i == len(v.Requests)-1 {
				v.behind(ctx)
			}
		}()
		v.read(o, written)
		<-written
		n := v.wrote.Load() - start
		o.lastByte, o.late, o.halfClosed = v.lastByte, v.late, v.halfClosed
		v.keep(o)
		o.headSent, o.sent = n >= int64(headed), n >= int64(len(full))
		v.ledger.conclude(o)
		if !o.whole || o.closing || q.Upgrade || v.left.Load() {
			v.concludeAll(o, v.Requests[i+1:], endLost, "")
			return
		}
		before = o
	}
}

// pipeline sends all requests and reads what comes.
func (v *visit) pipeline(ctx context.Context) {
	var all []byte
	var heads, ends []int64
	for _, q := range v.Requests {
		b, headed := q.bytes("")
		heads = append(heads, int64(len(all)+headed))
		all = append(all, b...)
		ends = append(ends, int64(len(all)))
	}
	v.go100 = make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		if v.write(ctx, all, v.Piece) {
			v.behind(ctx)
		}
	}()
	var outcomes []*outcome
	var before *outcome
	for _, q := range v.Requests {
		o := v.outcome(q, before)
		outcomes = append(outcomes, o)
		if before != nil && (!before.whole || before.closing) {
			o.end = endLost
		} else {
			v.read(o, written)
		}
		before = o
	}
	v.tcp.Close()
	<-written
	n := v.wrote.Load()
	for i, o := range outcomes {
		o.headSent, o.sent, o.halfClosed = n >= heads[i], n >= ends[i], v.halfClosed
		v.ledger.conclude(o)
	}
}

func (v *visit) outcome(q *Request, before *outcome) *outcome {
	return &outcome{request: q, client: v.Client, before: before, began: time.Now(), body: checked{id: answerOf(q.ID)}}
}

// concludeAll records requests that were not sent or not answered.
func (v *visit) concludeAll(before *outcome, requests []*Request, end, detail string) {
	for _, q := range requests {
		o := v.outcome(q, before)
		o.end, o.detail, o.ended = end, detail, time.Now()
		v.ledger.conclude(o)
		before, end = o, endLost
	}
}

// read reads one answer, after those of 1xx.
func (v *visit) read(o *outcome, written <-chan struct{}) {
	defer func() {
		o.ended = time.Now()
		if o.end != "" && v.left.Load() {
			o.end = endGone
		}
	}()
	if time.Since(v.opened) > enough {
		v.left.Store(true)
		v.tcp.Close()
	}
	v.conn.SetDeadline(time.Now().Add(connTimeout))
	first := true
	for {
		h, err := readHead(v.r)
		if first {
			first = false
			select {
			case <-v.go100:
			default:
				close(v.go100)
			}
		}
		if err != nil {
			o.end, o.detail = endOf(err, o.status == 0), err.Error()
			return
		}
		if o.take(&h) {
			break
		}
		if o.end != "" {
			return
		}
	}
	if o.status == 101 && o.request.Upgrade {
		v.echo(o, written)
		return
	}
	if v.readRest(o) {
		o.whole = true
	}
}

// endOf returns a word for an error.
func endOf(err error, nothing bool) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errMalformed):
		return endMalformed
	case errors.As(err, &timeout) && timeout.Timeout():
		return endTimeout
	case errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE):
		return endReset
	case nothing && err == io.EOF:
		return endClosed
	}
	return endCut
}
