package front

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
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
		v2Begins + "\x21\x11\x00\x13abcdefghijkl\x03\x00\x04wrong", v2Begins + "\x21\x11\xff\xffabcdefghijkl", v2Begins + "\x21\x00\x00\x00rest", v2Begins + "\x21\x11\x00\x0cabcdefghijkl", v2Begins + "\x20", "\r\n\r\n\x00\r\nQU", "PROXY " + strings.Repeat("1", 300), "",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		want := bytes.Clone(sent)
		var wantErr error
		if bytes.HasPrefix(sent, []byte(v2Begins)) && len(sent) >= v2Fixed {
			if !validChecksum(sent) {
				want, wantErr = nil, errChecksum
			} else if want[v2Command] == 0x21 && want[v2Family] == 0 {
				want[v2Command] = 0x20
			}
		}
		for name, from := range map[string]io.Reader{
			"whole": bytes.NewReader(sent), "bytes": iotest.OneByteReader(bytes.NewReader(sent)), "data with its end": iotest.DataErrReader(bytes.NewReader(sent)),
		} {
			got, err := io.ReadAll(&headerConn{Conn: &pieces{from: from}})
			if err != wantErr || !bytes.Equal(got, want) {
				t.Errorf("%s: handed over %q, %v; want %q, %v", name, got, err, want, wantErr)
			}
		}
	})
}

// TestPROXYChecksum: a header of version 2 whose checksum is wrong is none, wherever it stands; the
// right one is HAProxy's, of this header. A header that is longer than what is taken is left to
// go-proxyproto.
func TestPROXYChecksum(t *testing.T) {
	header := func(family byte, addresses int, parts ...string) []byte {
		body := strings.Repeat("a", addresses) + strings.Join(parts, "")
		return append(binary.BigEndian.AppendUint16([]byte(v2Begins+"\x21"+string(family)), uint16(len(body))), body...)
	}
	const unique, zero = "\x05\x00\x03abc", "\x03\x00\x04\x00\x00\x00\x00"
	for name, h := range map[string][]byte{
		"IPv4":                             header(0x11, 12, zero),
		"IPv4, then more":                  header(0x11, 12, unique, zero, unique),
		"IPv6":                             header(0x21, 36, unique, zero),
		"Unix":                             header(0x31, 216, zero, unique),
		"no addresses":                     header(0x00, 0, zero),
		"longer than what is read at once": header(0x11, 12, "\x04\x03\xe8"+strings.Repeat("x", 1000), zero),
	} {
		at := bytes.LastIndex(h, []byte(zero)) + 3
		binary.BigEndian.PutUint32(h[at:], crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli)))
		for _, wrong := range []bool{false, true} {
			if wrong {
				h[at] ^= 1
			}
			c := &headerConn{Conn: &pieces{from: iotest.OneByteReader(strings.NewReader(string(h) + "GET /"))}}
			got, err := io.ReadAll(c)
			if wrong && (err != errChecksum || len(got) > 0) || !wrong && (err != nil || len(got) != len(h)+5) {
				t.Errorf("%s, wrong %v: %d of %d bytes, %v", name, wrong, len(got), len(h)+5, err)
			}
		}
	}
	for name, h := range map[string][]byte{
		"no checksum": header(0x11, 12, unique), "cut": header(0x11, 12, "\x03\x00"), "of another length": header(0x11, 12, "\x03\x00\x02ab"), "longer than its header": header(0x11, 12, "\x03\x00\x04ab"),
		"an address like one": header(0x11, 0, "\x03\x00\x04abcd", "12345"),
	} {
		if got, err := io.ReadAll(&headerConn{Conn: &pieces{from: bytes.NewReader(h)}}); err != nil || !bytes.Equal(got, h) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestWhoMayAnnounce: an address has a zone where the network is a link, and its prefix
// has none.
func TestWhoMayAnnounce(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("2001:db8::1/128")}
	for peer, want := range map[string]bool{
		"10.1.2.3:4": true, "[::ffff:10.1.2.3]:4": true, "[fe80::1%eth0]:4": true, "[fe80::1]:4": true, "[2001:db8::1]:4": true,
		"11.1.2.3:4": false, "[2001:db8::2]:4": false, "[fec0::1%eth0]:4": false,
	} {
		if a := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(peer)); isTrusted(trusted, a) != want {
			t.Errorf("%s may announce a client: %v", peer, !want)
		}
	}
	if isTrusted(trusted, &net.UnixAddr{Name: "/a"}) {
		t.Error("a path may")
	}
}
