package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestShortConnectionsAreTheirOwn: what serai keeps of a connection for the next one
// tells it nothing of the client before, however that has left.
func TestShortConnectionsAreTheirOwn(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Header.Get("X-Forwarded-For"), r.URL.Path, body)
	}))
	defer origin.Close()
	k := newStack(t, settings{})
	k.service("a", []string{strings.TrimPrefix(origin.URL, "http://")}, "ingress.host=a.test")
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			address := fmt.Sprintf("127.0.%d.1", i+1)
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: long}
			for n := range 60 {
				c, err := from.Dial("tcp", k.address)
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(long))
				if err := ownAnswer(c, address, n); err != nil {
					t.Errorf("client %d, connection %d: %v", i, n, err)
				}
				c.Close()
			}
		})
	}
	clients.Wait()
}

// ownAnswer sends a request of a kind that n chooses, and says what is wrong with what
// comes. Some clients leave without one.
func ownAnswer(c net.Conn, address string, n int) error {
	path := fmt.Sprintf("/%s/%d", address, n)
	head := "GET " + path + " HTTP/1.1\r\nHost: a.test\r\n"
	send, body, answers := head+"\r\n", "", 1
	switch n % 6 {
	case 0:
		send = head + "Connection: close\r\n\r\n"
	case 1:
		body = strings.Repeat(address, 500)
		send = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	case 2:
		send, answers = strings.Repeat(send, 3), 3
	case 3:
		send, answers = head, 0 // and leaves in the middle of the head
	case 4:
		send, answers = head+"Content-Length: 100\r\n\r\nx", 0 // or of the body
	}
	if _, err := io.WriteString(c, send); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	for range answers {
		a, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		got, err := io.ReadAll(a.Body)
		if want := address + " " + path + " " + body; err != nil || string(got) != want {
			return fmt.Errorf("the answer is %d %q and %v, want %q", a.StatusCode, got, err, want)
		}
	}
	return nil
}
