//go:build !race

package http1_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"serai/policy"
	"serai/policy/auth"
	"serai/wire/socket"
)

// TestAllocNothingPerRequest sends many requests of one kind over one
// connection and counts what the whole process allocates meanwhile: client,
// serai and origin, all of which reuse their buffers.
func TestAllocNothingPerRequest(t *testing.T) {
	for _, c := range []struct {
		name, request, answer string
		tags                  []string
	}{
		{"GET", "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", nil},
		{"POST", "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
			"HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 00:00:00 GMT\r\nContent-Length: 5\r\n\r\nhello", nil},
		{"chunked answer", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", nil},
		{"path, strip and conditions", "GET /api/x HTTP/1.1\r\nHost: A.test:80\r\nX-Env: beta\r\n\r\n",
			"HTTP/1.1 204 No Content\r\n\r\n", []string{"ingress.path=/api", "ingress.strip=/api", "ingress.header=X-Env: beta", "ingress.lb=hash:ip"}},
		{"strip, hsts and sticky", "GET /api/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", []string{"ingress.strip=/api", "ingress.hsts=max-age=300", "ingress.sticky=stay"}},
		{"addresses, rate and cors", "GET / HTTP/1.1\r\nHost: a.test\r\nOrigin: https://b.test\r\nCookie: a=b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nVary: Accept\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 5\r\n\r\nhello",
			[]string{"ingress.allow=127.0.0.0/8,2001:db8::/32", "ingress.deny=10.0.0.0/8", "ingress.rate=1000000/s", "ingress.rate-by=host", "ingress.cors=https://a.test,https://b.test", "ingress.cors-credentials=true"}},
		{"paths and fields", "GET /v1/api/x?y HTTP/1.1\r\nHost: a.test\r\nX-User: admin\r\nCookie: a=b\r\n\r\n",
			"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello", []string{
				"ingress.rewrite=^/v1/[0-9]+/(.*)$ /$1", "ingress.prepend=/app", "ingress.request-remove=Cookie", "ingress.response-remove=Server",
				"ingress.request-set=X-User: {client} {host}{path} {request-id} {sni}", "ingress.request-set=X-Own: 1", "ingress.response-set=X-Request-Id: {request-id}"}},
		{"a password", "GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Basic YW5uOng=\r\nX-Forwarded-User: root\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", []string{"ingress.auth=staff"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go answerAll(l, []byte(c.answer))
			k := newStack(t, settings{catalog: staff(t)})
			k.service("a", []string{l.Addr().String()}, append([]string{"ingress.host=a.test"}, c.tags...)...)
			client := k.dial()
			request, answer := []byte(c.request), make([]byte, 4096)
			once := func() {
				if _, err := client.Write(request); err != nil {
					t.Fatal(err)
				}
				for n := 0; ; {
					got, err := client.Conn.Read(answer[n:])
					if err != nil {
						t.Fatalf("read the answer: %v, after %q", err, answer[:n])
					}
					n += got
					if whole(answer[:n]) {
						return
					}
				}
			}
			for range 500 {
				once()
			}
			const n = 2000
			each := 1.0
			for tries := 0; tries < 5 && each > 0.05; tries++ { // the rest of the process may allocate, too
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				for range n {
					once()
				}
				runtime.ReadMemStats(&after)
				each = float64(after.Mallocs-before.Mallocs) / n
			}
			if each > 0.05 {
				t.Errorf("%.2f allocations for each request", each)
			}
		})
	}
}

// staff is a catalog whose auth lets ann in with the password x.
func staff(t *testing.T) *policy.Catalog {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users, err := auth.ReadUsers(strings.NewReader("ann:" + string(hash) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	check, err := auth.NewBasic("staff", auth.BasicOptions{}, users, auth.NewPasswords())
	if err != nil {
		t.Fatal(err)
	}
	return policy.NewCatalog(nil, []*policy.Auth{{Name: "staff", Check: check}}, nil)
}

// TestAllocNoBufferPerConnection: connections that end after one request, on
// either side, give their buffers back.
func TestAllocNoBufferPerConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answerAll(l, []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"))
	k := newStack(t, settings{})
	k.service("a", []string{l.Addr().String()}, "ingress.host=a.test")
	request, answer := []byte("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"), make([]byte, 4096)
	once := func() {
		c, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for n := 0; ; {
			got, err := c.Read(answer[n:])
			n += got
			if err == io.EOF && whole(answer[:n]) {
				return
			}
			if err != nil {
				t.Fatalf("read the answer: %v, after %q", err, answer[:n])
			}
		}
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range 100 {
		once()
	}
	const n = 500
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		once()
	}
	runtime.ReadMemStats(&after)
	// The origin's own buffer of 4 KiB, and four sockets' worth of the net
	// package.
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 4096+socket.SmallBuffer {
		t.Errorf("%d bytes for each request", each)
	} else {
		t.Logf("%d bytes for each request", each)
	}
}

// whole reports whether an answer of these tests is complete.
func whole(b []byte) bool {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	switch {
	case !ok:
		return false
	case bytes.Contains(head, []byte("chunked")):
		return bytes.HasSuffix(body, []byte("0\r\n\r\n"))
	case bytes.Contains(head, []byte(" 204 ")):
		return true
	}
	return bytes.HasSuffix(body, []byte("hello"))
}

// answerAll answers each read, which is a whole request, with the same bytes.
func answerAll(l net.Listener, answer []byte) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, 4096)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}
