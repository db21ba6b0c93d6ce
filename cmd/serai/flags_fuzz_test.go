package main

import (
	"math/big"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
)

// FuzzNetworks: a flag with networks means what package net reads in it, for IPv4
// addresses as for their IPv6 spelling; and what it does not read is refused.
func FuzzNetworks(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "10.0.0.1", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:0:0/90", "::/0", "0.0.0.0/0", "fe80::1%eth0", "fe80::%eth0/10", "10.0.0.0/33",
		"10.0.0.0/08", "010.0.0.0/8", "10.1.2.3/8", "", "/", "10/8", " 10.0.0.0/8", "2001:db8::/129", "::ffff:10.0.0.1", "::10.0.0.1/104"} {
		f.Add(text, []byte{10, 0, 0, 1})
		f.Add(text, []byte(net.ParseIP("::ffff:10.0.0.1")))
		f.Add(text, []byte(net.ParseIP("2001:db8::1")))
	}
	f.Fuzz(func(t *testing.T, text string, address []byte) {
		var c cidr
		err := c.UnmarshalText([]byte(text))
		_, want, netErr := net.ParseCIDR(text)
		if _, bits, _ := strings.Cut(text, "/"); len(bits) > 1 && bits[0] == '0' {
			return // package net takes a length that begins with a zero
		}
		if bare, zone, _ := strings.Cut(text, "%"); netErr != nil && !strings.Contains(text, "/") {
			if zone != "" && strings.Contains(bare, ":") {
				text = bare // of a peer's address the zone does not count
			}
			if ip := net.ParseIP(text); ip != nil {
				want, netErr = &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}, nil
				if v4 := ip.To4(); v4 != nil {
					want.IP, want.Mask = v4, net.CIDRMask(32, 32)
				}
			}
		}
		if (err == nil) != (netErr == nil) {
			t.Fatalf("%q: %v, package net: %v", text, err, netErr)
		}
		if err != nil {
			return
		}
		ip, ok := netip.AddrFromSlice(address)
		if !ok {
			return
		}
		got := netip.Prefix(c).Contains(ip.Unmap())
		if got != want.Contains(net.IP(address)) {
			t.Errorf("%q contains %v: %v, package net says %v", text, ip, got, !got)
		}
		var again cidr
		if err := again.UnmarshalText([]byte(netip.Prefix(c).String())); err != nil || again != c {
			t.Errorf("%q is written as %v, which means %v, %v", text, netip.Prefix(c), netip.Prefix(again), err)
		}
	})
}

// FuzzMemory: what --memory and Nomad say is the limit, in bytes, or is refused, or
// left to others; never less than nothing, and never something else.
func FuzzMemory(f *testing.F) {
	for _, text := range []string{"0", "32", "31", "128", "-1", "134217728", "17592186044416", "17592186044417", "8796093022208", "9223372036854775807", "128MiB", "1e3", "0x80", "", "4294967295", "2147483647", "2147483648"} {
		f.Add(text, "")
		f.Add("0", text)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		f.Skip("GOMEMLIMIT decides")
	}
	f.Fuzz(func(t *testing.T, flag, given string) {
		var c commands
		parsed, err := parse(t.Context(), &c, []string{"serve", "--memory=" + flag}, func(string) string { return "" }, os.Stdout, os.Stderr)
		if err == nil {
			err = c.Serve.validate()
		}
		number, isNumber := new(big.Int).SetString(flag, 10)
		if err != nil {
			if isNumber && flag == number.String() && (number.Sign() == 0 || number.Cmp(big.NewInt(32)) >= 0 && number.Cmp(big.NewInt(1<<20)) <= 0) {
				t.Fatalf("--memory=%q is refused: %v", flag, err)
			}
			return
		}
		if parsed == nil || parsed.Command() != "serve" {
			t.Fatalf("--memory=%q is taken as the command %v", flag, parsed)
		}
		names := 0
		limit := memoryLimit(c.Serve.Memory, func(name string) string {
			names++
			if name == "NOMAD_MEMORY_LIMIT" {
				return given
			}
			return ""
		})
		if c.Serve.Memory > 0 {
			bytes := new(big.Int).Mul(big.NewInt(c.Serve.Memory), big.NewInt(1<<20))
			if !bytes.IsInt64() || bytes.Int64() != limit || names > 0 {
				t.Errorf("--memory=%q are %d bytes", flag, limit)
			}
			return
		}
		if limit < 0 {
			t.Errorf("the limit is %d", limit)
		}
		if n, err := strconv.Atoi(given); err == nil && n > 0 && n < 1<<31 {
			if all := int64(n) << 20; limit > all/10*9 || limit < all/10*9-10 {
				t.Errorf("NOMAD_MEMORY_LIMIT=%q gives %d bytes", given, limit)
			}
		}
	})
}
