package consulsim_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"serai/consul/consulsim"
	"serai/internal/consulagent"
)

const maxConns = 3

// contractConnLimit opens more connections than a client may have.
func contractConnLimit(t *testing.T, c cluster) {
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.address(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	answers := func(conn net.Conn) bool {
		if _, err := io.WriteString(conn, "GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return false
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return false
		}
		_, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	}
	// Connections of the start may still be counted.
	open := []net.Conn{}
	for end := time.Now().Add(testTimeout); len(open) < maxConns && time.Now().Before(end); {
		if conn := dial(); answers(conn) {
			open = append(open, conn)
		}
	}
	text, err := io.ReadAll(dial())
	if err != nil || string(text) != "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain\r\nContent-Length: 81\r\nConnection: close\r\n\r\n"+
		"Your IP is issuing too many concurrent connections, please rate limit your calls\n" {
		t.Errorf("a connection beyond the limit reads %q, %v", text, err)
	}
	open[0].Close()
	for end := time.Now().Add(testTimeout); ; {
		if answers(dial()) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no new connection after an old one was closed")
		}
	}
}

func TestSimulatorLimitsConnections(t *testing.T) {
	contractConnLimit(t, newSimCluster(t, consulsim.Options{MaxConns: maxConns}))
}

func TestRealAgentLimitsConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("a real agent takes seconds: not with -short")
	}
	a := consulagent.New(t, consulagent.Config{More: map[string]any{"limits": map[string]int{"http_max_conns_per_client": maxConns}}})
	a.Start(t)
	contractConnLimit(t, &realCluster{agent: a})
}
