package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
)

// connect dials, with a deadline for all that follows.
func connect(address string) (net.Conn, *bufio.Reader, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, nil, err
	}
	c.SetDeadline(time.Now().Add(time.Minute))
	return c, bufio.NewReader(c), nil
}

// expect reads an answer, whose body is the same as body unless that is nil.
func expect(r *bufio.Reader, status int, body []byte) error {
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode != status:
		return fmt.Errorf("%s, %s", res.Status, res.Header.Get("X-Serai-Reason"))
	case body != nil && !bytes.Equal(got, body):
		return errors.New("another body")
	}
	return nil
}

const smallRequest = "GET / HTTP/1.1\r\nHost: web.loadtest\r\n\r\n"

func smallRequests(address string) (n int, err error) {
	c, r, err := connect(address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	for range 10 {
		if _, err := io.WriteString(c, smallRequest); err != nil {
			return n, err
		}
		n++
		if err := expect(r, 200, nil); err != nil {
			return n, err
		}
	}
	return n, nil
}

func pipelined(address string) (int, error) {
	c, r, err := connect(address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	const many = 10
	if _, err := io.WriteString(c, strings.Repeat(smallRequest, many)); err != nil {
		return 0, err
	}
	for range many {
		if err := expect(r, 200, nil); err != nil {
			return many, err
		}
	}
	return many, nil
}

func chunkedEcho(address string) (int, error) {
	c, r, err := connect(address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	part := body(10_000)
	var out bytes.Buffer
	out.WriteString("POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 5 {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(part), part)
	}
	out.WriteString("0\r\n\r\n")
	go c.Write(out.Bytes())
	return 1, expect(r, 200, bytes.Repeat(part, 5))
}

// webSocket exchanges messages. An instance that stops says so, and the client
// of a real one would connect again.
func webSocket(address string) (int, error) {
	c, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/ws", map[string][]string{"Host": {"web.loadtest"}})
	if err != nil {
		return 1, err
	}
	defer c.Close()
	message := body(1000)
	for range 10 {
		if err := c.WriteMessage(websocket.BinaryMessage, message); err != nil {
			return 1, err
		}
		_, back, err := c.ReadMessage()
		if websocket.IsCloseError(err, websocket.CloseGoingAway) {
			return 1, nil
		}
		if err != nil {
			return 1, err
		}
		if !bytes.Equal(back, message) {
			return 1, errors.New("another message")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 1, nil
}

// leaves sends bytes, reads some of the answer, and closes the connection.
func leaves(sends string, requests, reads int) func(string) (int, error) {
	return func(address string) (int, error) {
		c, r, err := connect(address)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if _, err := io.WriteString(c, sends); err != nil {
			return 0, err
		}
		if reads > 0 {
			_, err = io.CopyN(io.Discard, r, int64(reads))
		} else {
			time.Sleep(50 * time.Millisecond)
		}
		return requests, err
	}
}

// malformed expects a refusal.
func malformed(address string) (int, error) {
	c, r, err := connect(address)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	return 0, expect(r, 400, nil)
}
