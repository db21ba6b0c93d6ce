package chaos

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// instance is an origin of the trial itself: it records every request that it reads,
// and answers as the request's program says.
type instance struct {
	service  *Service
	rules    *rules
	own      int // which of the service's Own tags it has
	name     string
	ledger   *ledger
	tls      *tls.Config
	listener net.Listener
	relay    *relay // nil when there is none

	mu      sync.Mutex
	conns   map[*originConn]bool
	busy    map[*arrival]bool // read, and not yet answered
	resume  chan struct{}     // closed while it runs
	stopped bool              // no connection is to be reused
	gone    time.Time         // since when it takes no connection, zero while it does
	running sync.WaitGroup
}

// originConn is a connection to an instance.
type originConn struct {
	net.Conn // TLS, where that is spoken
	tcp      *net.TCPConn
	r        *bufio.Reader
	sni      string
	idle     bool // guarded by the instance's mu
}

// startInstance opens a port and serves it.
func startInstance(ctx context.Context, s *Service, r *rules, own int, name string, l *ledger, certificate *tls.Config) (*instance, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i := &instance{service: s, rules: r, own: own, name: name, ledger: l, listener: listener,
		conns: make(map[*originConn]bool), busy: make(map[*arrival]bool), resume: make(chan struct{})}
	close(i.resume)
	if r.https {
		i.tls = certificate
	}
	if s.Relayed {
		if i.relay, err = startRelay(listener.Addr().String()); err != nil {
			listener.Close()
			return nil, err
		}
	}
	i.running.Go(func() { i.accept(ctx) })
	return i, nil
}

// address is where serai finds it.
func (i *instance) address() string {
	if i.relay != nil {
		return i.relay.listener.Addr().String()
	}
	return i.listener.Addr().String()
}

func (i *instance) accept(ctx context.Context) {
	for {
		c, err := i.listener.Accept()
		if err != nil {
			return
		}
		conn := &originConn{Conn: c, tcp: c.(*net.TCPConn)}
		i.mu.Lock()
		i.conns[conn] = true
		i.mu.Unlock()
		i.running.Go(func() {
			defer func() {
				conn.tcp.Close()
				i.mu.Lock()
				delete(i.conns, conn)
				i.mu.Unlock()
			}()
			if err := i.open(conn); err == nil {
				i.serve(ctx, conn)
			}
		})
	}
}

// open reads what comes before the first request.
func (i *instance) open(c *originConn) error {
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if i.rules.proxy != "" {
		if err := readProxyHeader(c.tcp, i.rules.proxy); err != nil {
			if errors.Is(err, errMalformed) {
				i.ledger.find("PROXY protocol", i.service.Name, "%v", err)
			}
			return err
		}
	}
	if i.tls != nil {
		t := tls.Server(c.tcp, i.tls)
		if err := t.Handshake(); err != nil {
			return err
		}
		c.Conn, c.sni = t, t.ConnectionState().ServerName
	}
	c.r = bufio.NewReaderSize(c.Conn, 16<<10)
	return nil
}

// serve answers requests until the connection is to end.
func (i *instance) serve(ctx context.Context, c *originConn) {
	for ctx.Err() == nil {
		i.mu.Lock()
		resume, stopped := i.resume, i.stopped
		c.idle = true
		i.mu.Unlock()
		if stopped {
			return
		}
		<-resume
		if i.service.IdleClose > 0 {
			c.SetReadDeadline(time.Now().Add(i.service.IdleClose))
		} else {
			c.SetReadDeadline(time.Now().Add(time.Minute))
		}
		if _, err := c.r.Peek(1); err != nil {
			return
		}
		i.mu.Lock()
		c.idle = false
		i.mu.Unlock()
		c.SetDeadline(time.Now().Add(30 * time.Second))
		h, err := readHead(c.r)
		if err != nil {
			if errors.Is(err, errMalformed) {
				i.ledger.find("malformed to an instance", i.service.Name, "%v", err)
			}
			return
		}
		if !i.answer(ctx, c, &h) {
			return
		}
	}
}

// stopOrderly accepts no new connection, closes unused ones, and ends the others with
// their answers.
func (i *instance) stopOrderly() {
	i.leave()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
	for c := range i.conns {
		if c.idle {
			c.tcp.Close()
		}
	}
}

// resetConns resets all connections.
func (i *instance) resetConns() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for c := range i.conns {
		c.tcp.SetLinger(0)
		c.tcp.Close()
	}
}

// kill ends it at once.
func (i *instance) kill() {
	i.leave()
	i.resetConns()
}

// leave records the end, and accepts no connection any more.
func (i *instance) leave() {
	i.mu.Lock()
	if i.gone.IsZero() {
		i.gone = time.Now()
	}
	i.mu.Unlock()
	i.listener.Close()
}

// hang stops it until again is called.
func (i *instance) hang() (again func()) {
	resume := make(chan struct{})
	i.mu.Lock()
	i.resume = resume
	i.mu.Unlock()
	return sync.OnceFunc(func() { close(resume) })
}

// close kills it, and waits until nothing of it runs.
func (i *instance) close() {
	i.kill()
	if i.relay != nil {
		i.relay.close()
	}
	i.running.Wait()
}

// readProxyHeader reads a PROXY header byte for byte, because the next bytes belong to
// TLS or HTTP.
func readProxyHeader(c net.Conn, version string) error {
	if version == "v1" {
		var line []byte
		for one := make([]byte, 1); !strings.HasSuffix(string(line), "\r\n"); line = append(line, one[0]) {
			if _, err := io.ReadFull(c, one); err != nil {
				return err
			}
			if len(line) > 107 {
				break
			}
		}
		if !strings.HasPrefix(string(line), "PROXY TCP") && !strings.HasPrefix(string(line), "PROXY UNKNOWN") {
			return errors.Join(errMalformed, errors.New("v1 header is "+string(line)))
		}
		return nil
	}
	fixed := make([]byte, 16)
	if _, err := io.ReadFull(c, fixed); err != nil {
		return err
	}
	if string(fixed[:12]) != "\r\n\r\n\x00\r\nQUIT\n" {
		return errors.Join(errMalformed, errors.New("v2 header does not begin with its signature"))
	}
	_, err := io.CopyN(io.Discard, c, int64(fixed[14])<<8|int64(fixed[15]))
	return err
}
