package front

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// pieces is a connection that gives its bytes one after the other.
type pieces struct {
	net.Conn
	from io.Reader
}

func (p *pieces) Read(b []byte) (int, error) { return p.from.Read(b) }

// FuzzPROXYHeader: however the bytes come, all of them are handed over, and none is
// changed but the command of an unspecified family.
func FuzzPROXYHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 203.0.113.7 10.0.0.1 50000 8080\r\nGET / HTTP/1.1\r\n\r\n", "PROXY UNKNOWN\r\n", "PROX", "PUT / HTTP/1.1\r\n\r\n", "GET /",
		v2Begins + "\x21\x00\x00\x00rest", v2Begins + "\x21\x11\x00\x0cabcdefghijkl", v2Begins + "\x20", "\r\n\r\n\x00\r\nQU", "PROXY " + strings.Repeat("1", 300), "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		want := bytes.Clone(sent)
		if unspecified := []byte(v2Begins + "\x21\x00"); bytes.HasPrefix(want, unspecified) {
			want[len(v2Begins)] = 0x20
		}
		for name, from := range map[string]io.Reader{
			"whole": bytes.NewReader(sent), "bytes": iotest.OneByteReader(bytes.NewReader(sent)), "data with its end": iotest.DataErrReader(bytes.NewReader(sent)),
		} {
			got, err := io.ReadAll(&headerConn{Conn: &pieces{from: from}})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: handed over %q, %v; want %q", name, got, err, want)
			}
		}
	})
}

// TestWhoMayAnnounce: an address has a zone where the network is a link, and its prefix
// has none.
func TestWhoMayAnnounce(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("2001:db8::1/128")}
	for peer, want := range map[string]bool{
		"10.1.2.3:4": true, "[::ffff:10.1.2.3]:4": true, "[fe80::1%eth0]:4": true, "[fe80::1]:4": true, "[2001:db8::1]:4": true,
		"11.1.2.3:4": false, "[2001:db8::2]:4": false, "[fec0::1%eth0]:4": false,
	} {
		if a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(peer)); announces(trusted, a) != want {
			t.Errorf("%s may announce a client: %v", peer, !want)
		}
	}
	if announces(trusted, &net.UnixAddr{Name: "/a"}) {
		t.Error("a path may")
	}
}
