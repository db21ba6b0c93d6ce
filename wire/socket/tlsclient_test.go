//go:build linux

package socket

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// held is the socket of a server whose writes leave together.
type held struct {
	net.Conn
	hold bool
	out  bytes.Buffer
}

func (h *held) Write(p []byte) (int, error) {
	if h.hold {
		return h.out.Write(p)
	}
	return h.Conn.Write(p)
}

// release sends what was held but for the last bytes.
func (h *held) release(t *testing.T, but int) {
	t.Helper()
	all := bytes.Clone(h.out.Bytes())
	h.out.Reset()
	h.hold = false
	if _, err := h.Conn.Write(all[:len(all)-but]); err != nil {
		t.Fatal(err)
	}
}

// TestReusableSeesWhatTLSHolds: bytes that nobody asked for are seen wherever they lie, in one layer
// of TLS and in two: in a record that came with the answer's, whole or in part, or in the answer's own.
func TestReusableSeesWhatTLSHolds(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS() // which has a certificate
	config := web.TLS.Clone()
	web.Close()
	const answer = "the answer"
	for name, c := range map[string]struct {
		extra string // in a record of its own
		same  string // in the answer's record
		but   int    // bytes of the last record that have not come
		twice bool
		want  bool
	}{
		"nothing":               {want: true},
		"nothing, two layers":   {want: true, twice: true},
		"a record":              {extra: "another one"},
		"a record, two layers":  {extra: "another one", twice: true},
		"a part of a record":    {extra: "another one", but: 3},
		"a part, two layers":    {extra: "another one", but: 3, twice: true},
		"within the record":     {same: "another one"},
		"within it, two layers": {same: "another one", twice: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			socket, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			h := &held{Conn: accepted}
			server, client := tls.Server(h, config), TLSClient(socket, &tls.Config{InsecureSkipVerify: true})
			layers := [][2]*tls.Conn{{server, client}}
			if c.twice {
				server, client = tls.Server(server, config), TLSClient(client, &tls.Config{InsecureSkipVerify: true})
				layers = append(layers, [2]*tls.Conn{server, client})
			}
			defer server.Close()
			near := NewConn(client)
			defer near.Close()
			near.SetDeadline(time.Now().Add(time.Minute))
			server.SetDeadline(time.Now().Add(time.Minute))
			for _, ends := range layers {
				shaken := make(chan error, 1)
				go func() { shaken <- ends[0].Handshake() }()
				if err := ends[1].Handshake(); err != nil {
					t.Fatal(err)
				}
				if err := <-shaken; err != nil {
					t.Fatal(err)
				}
			}
			h.hold = true
			for _, record := range []string{answer + c.same, c.extra} {
				if record != "" {
					if _, err := server.Write([]byte(record)); err != nil {
						t.Fatal(err)
					}
				}
			}
			h.release(t, c.but)
			got := make([]byte, len(answer))
			for n := 0; n < len(got); {
				m, err := client.Read(got[n:])
				if err != nil {
					t.Fatal(err)
				}
				n += m
			}
			if string(got) != answer {
				t.Fatalf("the answer is %q", got)
			}
			for range 2 { // the look changes nothing where nothing is
				if near.Reusable() != c.want {
					t.Errorf("reusable: %v, want %v", !c.want, c.want)
				}
				if !c.want {
					break
				}
			}
			if !c.want {
				return
			}
			go server.Write([]byte(answer)) // what comes after the look arrives
			if err := near.Fill(); err != nil || string(near.Buffered()) != answer {
				t.Errorf("after the look there is %q, %v", near.Buffered(), err)
			}
		})
	}
}
