package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"serai/wire"
)

func addressesOf(t testing.TB, list string) *Addresses {
	t.Helper()
	a, err := ParseAddresses(strings.Split(list, ","))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAddresses: what is denied is denied, and nobody without an address passes.
func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		allow, deny string
		passes      string
		refused     string
	}{
		{"10.0.0.0/8", "", "10.0.0.0 10.255.255.255", "11.0.0.0 9.255.255.255 ::ffff:11.0.0.1 2001:db8::1 ?"},
		{"192.0.2.1", "", "192.0.2.1", "192.0.2.0 192.0.2.2"},
		{"2001:db8::/32", "", "2001:db8:: 2001:db8:ffff::1", "2001:db9:: 32.1.13.184 10.0.0.1"},
		{"::ffff:10.0.0.0/104", "", "10.1.2.3", "11.0.0.0 ::a01:203"},
		{"::ffff:192.0.2.1", "", "192.0.2.1", "192.0.2.2"},
		{"", "10.0.0.0/8", "11.0.0.1 2001:db8::1", "10.0.0.1 ?"},
		{"10.0.0.0/8", "10.1.0.0/16", "10.0.0.1 10.2.0.0", "10.1.0.0 10.1.255.255 12.0.0.1"},
		{"10.1.0.0/16", "10.0.0.0/8", "", "10.1.0.1 10.2.0.1"},
		{"10.0.0.0/9,10.128.0.0/9,10.3.0.0/16", "", "10.0.0.0 10.127.255.255 10.128.0.0 10.255.255.255", "11.0.0.0"},
	} {
		o := &OfRoute{}
		if c.allow != "" {
			o.Allow = addressesOf(t, c.allow)
		}
		if c.deny != "" {
			o.Deny = addressesOf(t, c.deny)
		}
		l := ForRoute(o, &State{})
		ask := func(client string, want bool) {
			r, reply := &request{}, &Reply{Values: &wire.Values{}}
			if client != "?" {
				r.client = netip.MustParseAddr(client)
			}
			answered := l.Request(r, reply)
			if answered == want || answered && (reply.Status != 403 || reply.Reason != "ip-denied" || reply.Detail == "") {
				t.Errorf("allow=%s deny=%s: %s is answered: %v, with %+v", c.allow, c.deny, client, answered, reply)
			}
		}
		for client := range strings.FieldsSeq(c.passes) {
			ask(client, true)
		}
		for client := range strings.FieldsSeq(c.refused) {
			ask(client, false)
		}
	}
}

func TestAddressesExplained(t *testing.T) {
	many := "10.0.0.0/24"
	for i := 1; i < 10; i++ {
		many += fmt.Sprintf(",10.0.%d.0/24", i)
	}
	for _, c := range []struct{ allow, deny, want string }{
		{"10.0.0.0/8,192.0.2.1", "", "allow: only clients from 10.0.0.0/8, 192.0.2.1 are let through"},
		{"", "10.0.0.0/8", "deny: clients from 10.0.0.0/8 are refused"},
		{"10.0.0.0/8", "10.1.0.0/16", "allow: clients from 10.1.0.0/16 are refused, and of the others only those from 10.0.0.0/8 are let through"},
		{many, "", "allow: only clients from 10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24, 10.0.4.0/24, 10.0.5.0/24, 10.0.6.0/24, 10.0.7.0/24 and 2 more are let through"},
	} {
		o := &OfRoute{}
		if c.allow != "" {
			o.Allow = addressesOf(t, c.allow)
		}
		if c.deny != "" {
			o.Deny = addressesOf(t, c.deny)
		}
		if got := Explain(ForRoute(o, &State{}), nil); len(got) != 1 || got[0] != c.want {
			t.Errorf("explained as %q, want %q", got, c.want)
		}
	}
}

func TestAddressesRefused(t *testing.T) {
	for entry, instead := range map[string]string{
		"office.example.org": "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"10.0.0.1/8":         "10.0.0.0/8, or 10.0.0.1 for the one address",
		"2001:db8::1/32":     "2001:db8::/32, or 2001:db8::1 for the one address",
		"0.0.0.0/0":          "smaller networks, or none of this key",
		"::/0":               "smaller networks, or none of this key",
		"::ffff:0:0/96":      "smaller networks, or none of this key",
		"10.0.0.0/33":        "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"10.0.0.0/-1":        "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"10.0.0.0/08":        "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"10.0.0/8":           "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"010.0.0.1":          "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"10.0.0.1:80":        "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
		"fe80::1%eth0":       "fe80::1",
		"":                   "10.0.0.0/8, 2001:db8::/32 or 192.0.2.1",
	} {
		a, err := ParseAddresses([]string{"192.0.2.0/24", entry})
		var wrong *Mistake
		if a != nil || !errors.As(err, &wrong) || wrong.Instead != instead {
			t.Errorf("%q: %v, %+v, want instead %q", entry, a, err, instead)
		}
	}
}

// TestAddressesModel compares a set with a loop over its networks.
func TestAddressesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bytes4 := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 255}), 4, 4)
		bytes16 := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 255}), 16, 16)
		draw := func(name string) netip.Addr {
			if rapid.Bool().Draw(t, name+" is IPv6") {
				a, _ := netip.AddrFromSlice(bytes16.Draw(t, name))
				return a.Unmap()
			}
			a, _ := netip.AddrFromSlice(bytes4.Draw(t, name))
			return a
		}
		var networks []netip.Prefix
		var entries []string
		for range rapid.IntRange(1, 20).Draw(t, "networks") {
			a := draw("network")
			p, _ := a.Prefix(rapid.IntRange(1, a.BitLen()).Draw(t, "bits"))
			networks, entries = append(networks, p), append(entries, p.String())
		}
		set, err := ParseAddresses(entries)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.String(); len(strings.Split(got, ",")) != len(entries) {
			t.Fatalf("%q is written as %q", entries, got)
		}
		for range 30 {
			a, want := draw("client"), false
			for _, p := range networks {
				want = want || p.Contains(a)
			}
			if set.Contains(a) != want {
				t.Fatalf("%s in %q: %v", a, entries, !want)
			}
		}
	})
}

func FuzzParseAddresses(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104,2001:db8::/32", "0.0.0.0/0", "192.0.2.1", "fe80::1%1", "10.0.0.1/8", "::/1,8000::/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddresses(strings.Split(s, ","))
		if err != nil {
			return
		}
		again, err := ParseAddresses(strings.Split(a.String(), ","))
		if err != nil || again.String() != a.String() || !again.set.Equal(a.set) {
			t.Fatalf("%q is written as %q, which is %v, %v", s, a, again, err)
		}
		for _, p := range a.written {
			if p.Bits() == 0 || !a.Contains(p.Addr()) || p.Addr().Is4In6() {
				t.Fatalf("%q has %s", s, p)
			}
		}
		if a.Contains(netip.Addr{}) {
			t.Fatal("an unknown address is in it")
		}
	})
}
