package router

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"serai/discovery"
)

// The rules about addresses are written a second time here, with package net's
// types and by bytes, so that one mistake is not made twice.

// isForbidden4 reports whether no service can be at an IPv4 address.
func isForbidden4(b [4]byte) bool {
	ip := net.IP(b[:])
	oracle := b[0] == 192 && b[1] == 0 && b[2] == 0
	return b[0] == 0 || b[0] >= 224 || oracle || ip.IsLinkLocalUnicast() || ip.Equal(net.IPv4(100, 100, 100, 200)) || ip.Equal(net.IPv4(168, 63, 129, 16))
}

// embedded returns the IPv4 addresses that an IPv6 address can be a spelling of.
func embedded(b [16]byte) (all [][4]byte) {
	last := [4]byte(b[12:])
	starts := func(prefix ...byte) bool { return string(b[:len(prefix)]) == string(prefix) }
	zero := make([]byte, 8)
	switch {
	case starts(make([]byte, 12)...), // IPv4-compatible (RFC 4291 section 2.5.5.1)
		starts(append(zero, 0, 0, 0xff, 0xff)...), // IPv4-mapped
		starts(append(zero, 0xff, 0xff, 0, 0)...), // IPv4-translated (RFC 2765)
		starts(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0), starts(0, 0x64, 0xff, 0x9b, 0, 1):
		all = append(all, last)
	case starts(0x20, 0x02): // 6to4
		all = append(all, [4]byte(b[2:6]))
	case starts(0x20, 0x01, 0, 0): // Teredo: the server, and the client with all bits turned
		all = append(all, [4]byte(b[4:8]), [4]byte{^last[0], ^last[1], ^last[2], ^last[3]})
	}
	if (b[8] == 0 || b[8] == 2) && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP
		all = append(all, last)
	}
	return all
}

// spellings are ways to write an IPv4 address as an IPv6 one; the rest is what
// somebody can choose.
var spellings = []func(v4 [4]byte, rest []byte) [16]byte{
	func(v [4]byte, _ []byte) [16]byte { return [16]byte{12: v[0], v[1], v[2], v[3]} },
	func(v [4]byte, _ []byte) [16]byte { return [16]byte{10: 0xff, 0xff, v[0], v[1], v[2], v[3]} },
	func(v [4]byte, _ []byte) [16]byte { return [16]byte{8: 0xff, 0xff, 12: v[0], v[1], v[2], v[3]} },
	func(v [4]byte, _ []byte) [16]byte {
		return [16]byte{0, 0x64, 0xff, 0x9b, 12: v[0], v[1], v[2], v[3]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0, 0x64, 0xff, 0x9b, 0, 1, r[0], r[1], r[2], r[3], r[4], r[5], v[0], v[1], v[2], v[3]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0x20, 2, v[0], v[1], v[2], v[3], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0x20, 1, 0, 0, v[0], v[1], v[2], v[3], r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0x20, 1, 0, 0, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7], ^v[0], ^v[1], ^v[2], ^v[3]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0x20 | r[0]&0x1f, r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[0] >> 7 << 1, 0, 0x5e, 0xfe, v[0], v[1], v[2], v[3]}
	},
	func(v [4]byte, r []byte) [16]byte {
		return [16]byte{0xfd, r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[0] >> 7 << 1, 0, 0x5e, 0xfe, v[0], v[1], v[2], v[3]}
	},
}

// take compiles an address as a builder of a cluster does, the strictest one that
// no operator has set up.
func take(address string, port int) (string, *flaw) {
	own := func(a netip.AddrPort) string {
		if a.Addr().Unmap() == netip.MustParseAddr("10.9.8.7") && a.Port() == 8081 {
			return "the listener admin"
		}
		return ""
	}
	b := &Builder{options: Options{Own: own, NoLoopback: true}}
	b.options.setDefaults()
	return (&compilation{Builder: b}).address(&discovery.Instance{Address: address, Port: port, Node: "n", Created: 1})
}

// FuzzInstanceAddress: what is taken is one address and port, as written, and no
// spelling of a place where no service is.
func FuzzInstanceAddress(f *testing.F) {
	for _, address := range []string{
		"10.0.0.1", "127.0.0.1", "::1", "169.254.169.254", "::ffff:169.254.169.254", "::a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"2001:0:a9fe:a9fe::1", "2001:db8::5efe:a9fe:a9fe", "fd00:ec2::254", "fe80::1%eth0", "0x7f.1", "017700000001", "[::1]", "10.0.0.1:80", "١٠.0.0.1", "10.9.8.7", "64:ff9b::a09:807",
	} {
		f.Add(address, 80)
		f.Add(address, 8081)
	}
	f.Add("10.0.0.1", 4646)
	f.Add("10.0.0.1", -1)
	f.Fuzz(func(t *testing.T, address string, port int) {
		got, flaw := take(address, port)
		if flaw != nil {
			if flaw.why == "" || flaw.instead == "" {
				t.Fatalf("%q is refused without a word: %+v", address, flaw)
			}
			return
		}
		ip := net.ParseIP(address)
		if ip == nil || port < 1 || port > 65535 || port >= 4646 && port <= 4648 {
			t.Fatalf("%q, port %d, is taken", address, port)
		}
		if want := net.JoinHostPort(ip.String(), fmt.Sprint(port)); got != want {
			t.Errorf("%q is dialled as %s, want %s", address, got, want)
		}
		if ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || got == "10.9.8.7:8081" {
			t.Errorf("%q is taken", address)
		}
		all := embedded([16]byte(ip.To16()))
		if v4 := ip.To4(); v4 != nil {
			all = append(all, [4]byte(v4))
		}
		for _, v4 := range all {
			if v4[0] == 127 || isForbidden4(v4) || v4 == [4]byte{10, 9, 8, 7} && port == 8081 {
				t.Errorf("%q is taken, which can lead to %v", address, v4)
			}
		}
	})
}

// FuzzSpellings: where no service can be in IPv4, none is in any IPv6 spelling of it;
// and honest IPv4 addresses are taken.
func FuzzSpellings(f *testing.F) {
	for _, v4 := range []uint32{0xa9fea9fe, 0x7f000001, 0x646464c8, 0xa83f8110, 0xc00000c0, 1, 0xf0000001, 0xe0000001, 0x0a000001, 0xac100001, 0xc0a80101, 0x08080808, 0x64400001} {
		f.Add(v4, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	}
	f.Add(uint32(0xa9fea9fe), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, number uint32, chosen []byte) {
		v4 := [4]byte{byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)}
		rest := make([]byte, 8)
		copy(rest, chosen)
		forbidden := v4[0] == 127 || isForbidden4(v4)
		if _, flaw := take(netip.AddrFrom4(v4).String(), 80); (flaw != nil) != forbidden {
			t.Errorf("%v is refused: %+v", v4, flaw)
		}
		for i, spell := range spellings {
			ip := netip.AddrFrom16(spell(v4, rest))
			for _, text := range []string{ip.String(), ip.StringExpanded()} {
				if got, flaw := take(text, 80); forbidden && flaw == nil {
					t.Errorf("%v, spelled as %s (%d), is taken as %s", v4, text, i, got)
				}
			}
		}
	})
}
