//go:build !race

package http1_test

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAllocPerShortConnection counts what the whole process allocates for a connection
// that carries one request. The client makes system calls only, and the connection to
// the origin stays.
func TestAllocPerShortConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answerAll(l, []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	k := newStack(t, settings{})
	k.service("a", []string{l.Addr().String()}, "ingress.host=a.test")
	address := netip.MustParseAddrPort(k.address)
	server := &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	answer := make([]byte, 4096)
	for _, c := range []struct{ name, request string }{
		{"ended by serai", "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"},
		{"ended by the client", "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			request := []byte(c.request)
			once := func() {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer unix.Close(fd)
				if err := unix.Connect(fd, server); err != nil {
					t.Fatal(err)
				}
				if _, err := unix.Write(fd, request); err != nil {
					t.Fatal(err)
				}
				for n := 0; !whole(answer[:n]); {
					got, err := unix.Read(fd, answer[n:])
					if err != nil || got == 0 {
						t.Fatalf("read the answer: %v, after %q", err, answer[:n])
					}
					n += got
				}
			}
			for range 500 {
				once()
			}
			// Seven are the net package's: the connection and its descriptor, two
			// addresses of two parts each, and what SyscallConn returns. Two are the
			// client's, which has no other connection: in the server's limits and in
			// those of all servers.
			const n, most = 1000, 9
			each := float64(most + 1)
			for tries := 0; tries < 5 && each > most+0.5; tries++ { // the rest of the process may allocate, too
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				for range n {
					once()
				}
				runtime.ReadMemStats(&after)
				each = float64(after.Mallocs-before.Mallocs) / n
				t.Logf("%.2f allocations and %d bytes for each connection", each, (after.TotalAlloc-before.TotalAlloc)/n)
			}
			if each > most+0.5 {
				t.Errorf("%.2f allocations for each connection, want %d", each, most)
			}
		})
	}
}
