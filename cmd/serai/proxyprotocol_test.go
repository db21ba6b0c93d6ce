package main

import (
	"bufio"
	"bytes"
	cryptotls "crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"serai/internal/testnet"
	"serai/nomad"
)

// serveStatic runs serai with static instances, waits until it is ready, and
// returns the address of its plain listener.
func serveStatic(t *testing.T, regs []nomad.Registration, flags ...string) (*process, string) {
	t.Helper()
	type static struct {
		ServiceName, Address string
		Port                 int
		Tags                 []string
	}
	var list []static
	for _, r := range regs {
		list = append(list, static{r.ServiceName, r.Address, r.Port, r.Tags})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "services.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	address := testnet.Address(t)
	p := start(t, nil, append([]string{"serve", "--no-nomad", "--services=" + file, "--http=" + address, "--admin=", "--drain-delay=0s"}, flags...)...)
	until(t, "readiness", func() bool { status, _ := get(address, "127.0.0.1", "/.serai/ready"); return status == 200 })
	return p, address
}

// byHand listens for an instance whose part the test plays.
func byHand(t *testing.T, name string, tags ...string) (net.Listener, nomad.Registration) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, nomad.Registration{ServiceName: name, Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Tags: tags}
}

// acceptRequest accepts connections until one brings a request: probes, and
// connections kept for later, bring none.
func acceptRequest(t *testing.T, l net.Listener) (net.Conn, *bufio.Reader, *http.Request) {
	t.Helper()
	type arrival struct {
		conn net.Conn
		from *bufio.Reader
		r    *http.Request
	}
	arrivals, failed := make(chan arrival), make(chan error, 1)
	done := make(chan struct{})
	defer close(done)
	read := func(c net.Conn) {
		a := arrival{conn: c, from: bufio.NewReader(c)}
		var err error
		if a.r, err = http.ReadRequest(a.from); err != nil {
			c.Close()
			return
		}
		select {
		case arrivals <- a:
		case <-done:
			c.Close()
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				failed <- err
				return
			}
			c.SetDeadline(time.Now().Add(long))
			go read(c)
		}
	}()
	defer l.(*net.TCPListener).SetDeadline(time.Time{})
	select {
	case a := <-arrivals:
		// Nobody accepts any more when the next call does.
		l.(*net.TCPListener).SetDeadline(time.Now())
		<-failed
		t.Cleanup(func() { a.conn.Close() })
		return a.conn, a.from, a.r
	case err := <-failed:
		t.Fatal(err)
	case <-time.After(long):
		t.Fatal("no request came")
	}
	return nil, nil, nil
}

// dialFrom connects from an address of the loopback.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(long))
	return c
}

// selfSigned writes the pair called default to a new directory.
func selfSigned(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	issuer := authority(t)
	issuer.write(t, dir, "default", "web.example.org")
	return dir
}

// announcement returns a header of the PROXY protocol.
func announcement(t *testing.T, h *proxyproto.Header) string {
	t.Helper()
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func tcp(s string) *net.TCPAddr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// TestProxyProtocol: who may announce a client, and what is made of it.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	certs, secure := selfSigned(t), testnet.Address(t)
	// A header in single bytes must come within the time for heads on a busy machine, too.
	p, plain := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")},
		"--proxy-protocol-from=127.0.0.1", "--head-timeout=10s", "--access-log=stdout", "--https="+secure, "--cert-dir="+certs)

	v2 := proxyproto.HeaderProxyFromAddrs(2, tcp("198.51.100.9:40000"), tcp("10.0.0.1:8443"))
	long2 := *v2
	if err := long2.SetTLVs([]proxyproto.TLV{{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 2000)}}); err != nil {
		t.Fatal(err)
	}
	local := &proxyproto.Header{Version: 2, Command: proxyproto.LOCAL, TransportProtocol: proxyproto.UNSPEC}
	unix := &proxyproto.Header{Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.UnixStream,
		SourceAddr: &net.UnixAddr{Net: "unix", Name: "/a"}, DestinationAddr: &net.UnixAddr{Net: "unix", Name: "/b"}}
	const listed, other = "127.0.0.1", "127.0.0.2"
	const v1 = "PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080\r\n"
	for _, c := range []struct {
		name, from, header string
		client             string // that the instance is told, empty when there is no answer
		port               string // that the client spoke to
		status             int
	}{
		{"v1", listed, v1, "203.0.113.7", "8080", 200},
		{"v1 of IPv6", listed, "PROXY TCP6 2001:db8::1 2001:db8::2 50000 8080\r\n", "2001:db8::1", "8080", 200},
		{"v1 of an unknown client", listed, "PROXY UNKNOWN\r\n", "127.0.0.1", "", 200},
		{"v2", listed, announcement(t, v2), "198.51.100.9", "8443", 200},
		{"v2 with 2000 bytes of what is not known", listed, announcement(t, &long2), "198.51.100.9", "8443", 200},
		{"v2 of the peer itself", listed, announcement(t, local), "127.0.0.1", "", 200},
		{"v2 of an unspecified family", listed, announcement(t, v2)[:12] + "\x21\x00\x00\x00", "127.0.0.1", "", 200},
		{"v2 of an unspecified family with 7 bytes", listed, announcement(t, v2)[:12] + "\x21\x00\x00\x07\x04\x00\x04abcd", "127.0.0.1", "", 200},
		{"v2 of the peer itself with a family", listed, announcement(t, v2)[:12] + "\x20\x11\x00\x00", "127.0.0.1", "", 200},
		{"v2 of the peer itself with addresses", listed, announcement(t, v2)[:12] + "\x20" + announcement(t, v2)[13:], "127.0.0.1", "", 200},
		{"v2 of a Unix socket", listed, announcement(t, unix), "127.0.0.1", "", 200},
		{"no header", listed, "", "127.0.0.1", "", 200},
		{"no header of another peer", other, "", "127.0.0.2", "", 200},
		{"v1 of another peer", other, v1, "", "", 400},
		{"v2 of another peer", other, announcement(t, v2), "", "", 400},
		{"v1 twice", listed, v1 + v1, "", "", 400},
		{"v1 with a bad address", listed, "PROXY TCP4 203.0.113.300 10.0.0.1 50000 8080\r\n", "", "", 0},
		{"v1 with a bad port", listed, "PROXY TCP4 203.0.113.7 10.0.0.1 70000 8080\r\n", "", "", 0},
		{"v1 that ends in a bare LF", listed, "PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080\n", "", "", 0},
		{"v1 without an end", listed, "PROXY TCP4 " + strings.Repeat("1", 300), "", "", 0},
		{"v2 of a bad version", listed, strings.Replace(announcement(t, v2), "QUIT\n\x21", "QUIT\n\x31", 1), "", "", 0},
		{"v1 with zeros in the address", listed, "PROXY TCP4 203.000.113.007 10.0.0.1 50000 8080\r\n", "", "", 0},
		{"v1 with zeros in the port", listed, "PROXY TCP4 203.0.113.7 10.0.0.1 050000 8080\r\n", "", "", 0},
		{"v1 of another family than its addresses", listed, "PROXY TCP4 2001:db8::1 2001:db8::2 50000 8080\r\n", "", "", 0},
		{"v1 in lower case", listed, "PROXY tcp4 203.0.113.7 10.0.0.1 50000 8080\r\n", "", "", 0},
		{"v1 with two blanks", listed, "PROXY TCP4  203.0.113.7 10.0.0.1 50000 8080\r\n", "", "", 0},
		{"v1 with a field more", listed, "PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080 x\r\n", "", "", 0},
		{"v1 with a name", listed, "PROXY TCP4 localhost 10.0.0.1 50000 8080\r\n", "", "", 0},
		{"v1 of a mapped address", listed, "PROXY TCP6 ::ffff:203.0.113.7 ::ffff:10.0.0.1 50000 8080\r\n", "203.0.113.7", "8080", 200},
		{"v1 of an unknown client with addresses", listed, "PROXY UNKNOWN 203.0.113.7 10.0.0.1 50000 8080\r\n", "127.0.0.1", "", 200},
		{"v1 and v2", listed, v1 + announcement(t, v2), "", "", 400},
		{"v2 twice", listed, announcement(t, v2) + announcement(t, v2), "", "", 400},
		{"v2 of an unknown command", listed, strings.Replace(announcement(t, v2), "QUIT\n\x21", "QUIT\n\x22", 1), "", "", 0},
		{"v2 shorter than its addresses", listed, announcement(t, v2)[:12] + "\x21\x11\x00\x0b12345678901", "", "", 0},
		{"v2 whose last value is cut", listed, announcement(t, v2)[:14] + "\x00\x0e" + announcement(t, v2)[16:28] + "\x04\x00", "198.51.100.9", "8443", 200},
		{"v2 longer than what comes", listed, announcement(t, v2)[:14] + "\xff\xff", "", "", 0},
	} {
		for _, way := range []string{"plain", "in two writes", "byte by byte", "tls"} {
			if way == "tls" && c.status != 200 {
				continue // the refusal is the same
			}
			if way == "byte by byte" && len(c.header) > 200 {
				continue
			}
			t.Run(c.name+"/"+way, func(t *testing.T) {
				address := plain
				if way == "tls" {
					address = secure
				}
				conn := dialFrom(t, c.from, address)
				header := c.header
				if way == "in two writes" && len(header) > 20 {
					io.WriteString(conn, header[:9])
					header = header[9:]
					time.Sleep(10 * time.Millisecond) // or it may arrive in one piece, which proves less
				}
				for way == "byte by byte" && len(header) > 0 {
					io.WriteString(conn, header[:1])
					header = header[1:]
					time.Sleep(time.Millisecond)
				}
				io.WriteString(conn, header)
				if way == "tls" {
					conn = cryptotls.Client(conn, &cryptotls.Config{ServerName: "web.example.org", InsecureSkipVerify: true})
				}
				io.WriteString(conn, "GET /"+way[:2]+" HTTP/1.1\r\nHost: web.example.org\r\nConnection: close\r\n\r\n")
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if c.status == 0 {
					if err == nil {
						t.Fatalf("answered %s, want the end of the connection", res.Status)
					}
					if e, ok := err.(net.Error); ok && e.Timeout() {
						t.Fatalf("the connection does not end: %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != c.status {
					t.Fatalf("answered %s %s, %v; want %d", res.Status, body, err, c.status)
				}
				if c.status != 200 {
					return
				}
				port := c.port
				if port == "" {
					_, port, _ = net.SplitHostPort(address)
				}
				for _, want := range []string{"X-Forwarded-For: " + c.client, "X-Real-Ip: " + c.client, "X-Forwarded-Port: " + port} {
					if !bytes.Contains(body, []byte(want+"\n")) {
						t.Errorf("the instance was not told %q:\n%s", want, body)
					}
				}
				until(t, "the line of the access log", func() bool {
					peer := strings.TrimSuffix(net.JoinHostPort(c.client, ""), ":") + ":"
					return strings.Contains(p.stdout.String(), `"client":"`+c.client+`","peer":"`+peer)
				})
			})
		}
	}
}

// TestProxyProtocolHeaderIsAwaitedForSoLong: a listed peer that begins a header
// and falls silent is not waited for without end.
func TestProxyProtocolHeaderIsAwaitedForSoLong(t *testing.T) {
	_, plain := serveStatic(t, []nomad.Registration{instance(t, "web", "ingress.host=web.example.org")},
		"--proxy-protocol-from=127.0.0.0/8", "--head-timeout=100ms")
	for _, begun := range []string{"PROXY TCP4 203", "\r\n\r\n\x00\r\nQUIT\n\x21\x11"} {
		c := dialFrom(t, "127.0.0.1", plain)
		io.WriteString(c, begun)
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatalf("after %q: %v", begun, err)
		}
		if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
			t.Errorf("%q was answered %s", begun, answer)
		}
	}
}

// ways are all ways in which a client can come.
func ways(t *testing.T) (flags []string, dial map[string]func(t *testing.T, plain string) net.Conn) {
	secure := testnet.Address(t)
	const header = "PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080\r\n"
	handshake := func(c net.Conn) net.Conn {
		return cryptotls.Client(c, &cryptotls.Config{ServerName: "web.example.org", InsecureSkipVerify: true})
	}
	return []string{"--proxy-protocol-from=127.0.0.1", "--https=" + secure, "--cert-dir=" + selfSigned(t)},
		map[string]func(*testing.T, string) net.Conn{
			"plain": func(t *testing.T, plain string) net.Conn { return dialFrom(t, "127.0.0.2", plain) },
			"tls":   func(t *testing.T, _ string) net.Conn { return handshake(dialFrom(t, "127.0.0.2", secure)) },
			"announced": func(t *testing.T, plain string) net.Conn {
				c := dialFrom(t, "127.0.0.1", plain)
				io.WriteString(c, header)
				return c
			},
			"announced, tls": func(t *testing.T, _ string) net.Conn {
				c := dialFrom(t, "127.0.0.1", secure)
				io.WriteString(c, header)
				return handshake(c)
			},
		}
}

// TestClientLeaves: whichever way a client came, the instance is told soon that
// it has left.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	l, reg := byHand(t, "web", "ingress.host=web.example.org")
	flags, dial := ways(t)
	_, plain := serveStatic(t, []nomad.Registration{reg}, flags...)
	for name, dial := range dial {
		t.Run(name, func(t *testing.T) {
			c := dial(t, plain)
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n")
			_, b, _ := acceptRequest(t, l)
			c.Close()
			if _, err := b.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the instance still has its connection: %v", err)
			}
		})
	}
}

// TestHalfClose: whichever way a client came, one direction of its tunnel ends
// alone.
func TestHalfClose(t *testing.T) {
	l, reg := byHand(t, "web", "ingress.host=web.example.org")
	flags, dial := ways(t)
	_, plain := serveStatic(t, []nomad.Registration{reg}, flags...)
	for name, dial := range dial {
		for _, first := range []string{"instance", "client"} {
			t.Run(name+"/"+first, func(t *testing.T) {
				c := dial(t, plain)
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.example.org\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
				o, fromClient, _ := acceptRequest(t, l)
				io.WriteString(o, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
				fromInstance := bufio.NewReader(c)
				if res, err := http.ReadResponse(fromInstance, nil); err != nil || res.StatusCode != 101 {
					t.Fatalf("no tunnel: %v, %v", res, err)
				}
				type end struct {
					name string
					to   net.Conn
					from io.Reader
				}
				one, two := end{"instance", o, fromInstance}, end{"client", c, fromClient}
				if first == "client" {
					one, two = two, one
				}
				for _, e := range []end{one, two} {
					io.WriteString(e.to, "last words of the "+e.name)
					if err := e.to.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(e.from); err != nil || string(got) != "last words of the "+e.name {
						t.Fatalf("from the %s came %q, %v", e.name, got, err)
					}
				}
			})
		}
	}
}

// TestProxyProtocolToInstances: an instance that asks for it is told the client
// ahead of the request, by a header that another implementation reads.
func TestProxyProtocolToInstances(t *testing.T) {
	var regs []nomad.Registration
	for _, version := range []string{"v1", "v2"} {
		l, reg := byHand(t, version, "ingress.host="+version+".example.org", "ingress.proxy-protocol="+version)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s for %s", r.RemoteAddr, r.Header.Get("X-Forwarded-For"))
		})}
		ended := make(chan error, 1)
		go func() {
			ended <- server.Serve(&proxyproto.Listener{Listener: l, ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
				return proxyproto.REQUIRE, nil
			}})
		}()
		t.Cleanup(func() {
			server.Close()
			<-ended
		})
		regs = append(regs, reg)
	}
	_, plain := serveStatic(t, regs, "--proxy-protocol-from=127.0.0.1")
	for _, version := range []string{"v1", "v2"} {
		for client, header := range map[string]string{
			"203.0.113.7:50000":   "PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080\r\n",
			"[2001:db8::1]:50001": "PROXY TCP6 2001:db8::1 2001:db8::2 50001 8080\r\n",
		} {
			t.Run(version+" "+client, func(t *testing.T) {
				c := dialFrom(t, "127.0.0.1", plain)
				io.WriteString(c, header)
				b := bufio.NewReader(c)
				for range 2 {
					io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+version+".example.org\r\n\r\n")
					res, err := http.ReadResponse(b, nil)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					host, _, _ := net.SplitHostPort(client)
					if want := client + " for " + host; err != nil || string(body) != want {
						t.Errorf("the instance answered %d %q, %v; want %q", res.StatusCode, body, err, want)
					}
				}
			})
		}
	}
}
