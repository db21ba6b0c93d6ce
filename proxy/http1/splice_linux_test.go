package http1_test

import (
	"bufio"
	"net"
	"os"
	"strings"
	"testing"

	"serai/proxy"
)

// TestSpliceWherePlain: a large upload has a pipe while it is under way, and
// none when it comes over TLS, where the kernel cannot move it.
func TestSpliceWherePlain(t *testing.T) {
	upload := func(t *testing.T, wrap func(net.Listener) net.Listener, dial func(net.Conn) net.Conn) int {
		k, o := web(t, settings{proxy: proxy.Options{Splice: true}, wrap: wrap})
		c := k.dial()
		over := dial(c.Conn)
		c = &peer{t, over, bufio.NewReader(over)}
		before := pipes(t)
		c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 4000000", "", "begin")
		in := o.next()
		in.head()
		in.read("begin\r\n")
		c.write("more")
		in.read("more") // so that the upload is under way
		return pipes(t) - before
	}
	t.Run("plain", func(t *testing.T) {
		n := upload(t, nil, func(c net.Conn) net.Conn { return c })
		if n != 2 {
			t.Errorf("%d ends of pipes, not those of one", n)
		}
	})
	t.Run("TLS", func(t *testing.T) {
		n := upload(t, overTLS(t), tlsClient)
		if n != 0 {
			t.Errorf("%d ends of pipes for what cannot be spliced", n)
		}
	})
}

// pipes counts the ends of pipes that the process has open.
func pipes(t *testing.T) int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range open {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}
