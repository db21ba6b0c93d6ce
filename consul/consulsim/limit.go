package consulsim

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// connLimit bounds the connections of a server, as Consul bounds those of each client's
// address.
type connLimit struct {
	max int // 0 for no bound

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

// tooMany is what a connection beyond the bound reads, before it has sent anything.
const tooMany = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 81\r\nConnection: close\r\n\r\n" +
	"Your IP is issuing too many concurrent connections, please rate limit your calls\n"

// state is the hook of http.Server.
func (l *connLimit) state(c net.Conn, s http.ConnState) {
	if l.max == 0 {
		return
	}
	switch s {
	case http.StateNew:
		if !l.take(c) {
			c.SetDeadline(time.Now().Add(time.Second))
			c.Write([]byte(tooMany))
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		l.mu.Lock()
		delete(l.open, c)
		l.mu.Unlock()
	}
}

func (l *connLimit) take(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= l.max {
		return false
	}
	if l.open == nil {
		l.open = map[net.Conn]struct{}{}
	}
	l.open[c] = struct{}{}
	return true
}
