package router

import (
	"net/netip"
	"strings"
	"testing"

	"serai/discovery"
)

// TestWhereAnInstanceMayBe checks addresses in every spelling.
func TestWhereAnInstanceMayBe(t *testing.T) {
	nobody := func(netip.AddrPort) string { return "" }
	open := Options{Own: nobody}
	own10 := func(a netip.AddrPort) string {
		if a == netip.MustParseAddrPort("10.0.0.1:80") {
			return "the listener http"
		}
		return ""
	}
	agent10 := Options{Own: nobody, Nomad: func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("10.0.0.1:14646") }}
	for _, c := range []struct {
		options Options
		address string
		port    int
		node    string
		refused string // part of the reason, empty when allowed
	}{
		{open, "10.0.0.1", 80, "n", ""},
		{open, "192.168.1.1", 80, "n", ""},
		{open, "100.64.0.1", 80, "n", ""},
		{open, "8.8.8.8", 80, "n", ""},
		{open, "fd12::1", 80, "n", ""},
		{open, "2001:db8::1", 80, "n", ""},
		{open, "64:ff9b::10.0.0.1", 80, "n", ""},
		{open, "::ffff:10.0.0.1", 80, "n", ""},
		{open, "127.0.0.1", 80, "n", ""},
		{open, "[2001:db8::1]", 80, "n", ""},
		{open, "[2001:db8::1", 80, "n", "not an IP address"},
		{open, "2001:db8::1]", 80, "n", "not an IP address"},
		{open, "[[2001:db8::1]]", 80, "n", "not an IP address"},
		{open, "[10.0.0.1]", 80, "n", "not an IP address"},
		{open, "[fe80::1%eth0]", 80, "", "not an IP address"},
		{open, "[fd00:ec2::254]", 80, "", "metadata"},
		{open, "[::ffff:169.254.169.254]", 80, "", "metadata"},
		{open, "[]", 80, "", "not an IP address"},
		{open, "169.254.169.254", 80, "", "metadata"},
		{open, "::ffff:169.254.169.254", 80, "", "metadata"},
		{open, "64:ff9b::a9fe:a9fe", 80, "", "metadata"},
		{open, "::169.254.169.254", 80, "", "not one that a service"},
		{open, "2002:a9fe:a9fe::1", 80, "", "not one that a service"},
		{open, "64:ff9b:1::a9fe:a9fe", 80, "", "not one that a service"},
		{open, "fe80::1", 80, "", "metadata"},
		{open, "fd00:ec2::254", 80, "", "metadata"},
		{open, "100.100.100.200", 80, "", "metadata"},
		{open, "168.63.129.16", 80, "", "metadata"},
		{open, "192.0.0.192", 80, "", "metadata"},
		{open, "fd20:ce::254", 80, "", "metadata"},
		{open, "fd00:42::42", 80, "", "metadata"},
		{open, "fd00:c1::a9fe:a9fe", 80, "", "metadata"},
		{open, "fd00:a9fe:a9fe::1", 80, "", "metadata"},
		{open, "fd00:100::100:200", 80, "", "metadata"},
		{open, "64:ff9b::192.0.0.192", 80, "", "metadata"},
		{open, "::ffff:0:169.254.169.254", 80, "", "not one that a service"},
		{open, "2001:0:a9fe:a9fe::1", 80, "", "not one that a service"},
		{open, "2001:0:808:808::5601:5601", 80, "", "not one that a service"},
		{open, "2001:db8::5efe:a9fe:a9fe", 80, "", "not one that a service"},
		{open, "fd12::200:5efe:169.254.169.254", 80, "", "not one that a service"},
		{open, "fec0::1", 80, "", "not one that a service"},
		{open, "100::1", 80, "", "not one that a service"},
		{open, "::ffff:0:127.0.0.1", 80, "", "not one that a service"},
		{open, "::127.0.0.1", 80, "", "not one that a service"},
		{open, "0.0.0.0", 80, "", "not one that a service"},
		{open, "0.0.0.1", 80, "", "not one that a service"},
		{open, "240.0.0.1", 80, "", "not one that a service"},
		{open, "255.255.255.255", 80, "", "not one that a service"},
		{open, "224.0.0.1", 80, "", "not one that a service"},
		{open, "ff02::1", 80, "", "not one that a service"},
		{open, "::", 80, "", "not one that a service"},
		{open, "64:ff9b::7f00:1", 80, "", "not one that a service"},
		{open, "fe80::1%eth0", 80, "", "not an IP address"},
		{open, "localhost", 80, "", "not an IP address"},
		{open, "0x7f000001", 80, "", "not an IP address"},
		{open, "127.1", 80, "", "not an IP address"},
		{open, "010.0.0.1", 80, "", "not an IP address"},
		{open, "10.0.0.1", 4646, "n", "Nomad's own"},
		{open, "10.0.0.1", 4646, "", ""}, // the operator's own file
		{Options{Own: nobody, Node: "n"}, "127.0.0.1", 80, "n", ""},
		{Options{Own: nobody, Node: "n"}, "127.0.0.1", 80, "m", "loopback of another node"},
		{Options{Own: nobody, NoLoopback: true}, "127.0.0.1", 80, "n", "loopback of whichever node"},
		{Options{Own: nobody, NoLoopback: true}, "::1", 80, "n", "loopback of whichever node"},
		{Options{Own: nobody, NoLoopback: true}, "127.0.0.1", 80, "", ""},
		{Options{Own: nobody, NoLoopback: true, Networks: prefixes("127.0.0.0/8")}, "127.0.0.1", 80, "n", ""},
		{Options{Own: nobody, Networks: prefixes("10.0.0.0/8")}, "10.9.9.9", 80, "n", ""},
		{Options{Own: nobody, Networks: prefixes("10.0.0.0/8")}, "192.168.1.1", 80, "n", "none of the networks"},
		{Options{Own: nobody, Networks: prefixes("0.0.0.0/0", "::/0")}, "169.254.169.254", 80, "n", "metadata"},
		{Options{Own: func(netip.AddrPort) string { return "the listener http" }}, "10.0.0.1", 80, "n", "of this serai itself"},
		{Options{Own: own10}, "::ffff:10.0.0.1", 80, "n", "of this serai itself"},
		{Options{Own: own10}, "64:ff9b::10.0.0.1", 80, "n", "of this serai itself"},
		{agent10, "10.0.0.1", 14646, "n", "Nomad's own"},
		{agent10, "::ffff:10.0.0.1", 14646, "n", "Nomad's own"},
		{agent10, "64:ff9b::10.0.0.1", 14646, "n", "Nomad's own"},
		{agent10, "10.0.0.1", 14646, "", ""}, // the operator's own file
		{agent10, "10.0.0.2", 14646, "n", ""},
		{agent10, "10.0.0.1", 14647, "n", ""},
	} {
		i := &discovery.Instance{Address: c.address, Port: c.port, Node: c.node}
		if c.node != "" {
			i.Created = 1 // like every registration of Nomad
		}
		c.options.setDefaults()
		got, flaw := (&compilation{Builder: &Builder{options: c.options}}).address(i)
		switch {
		case flaw == nil && c.refused != "":
			t.Errorf("%s:%d is taken as %s, though %s", c.address, c.port, got, c.refused)
		case flaw != nil && (c.refused == "" || !strings.Contains(flaw.why, c.refused)):
			t.Errorf("%s:%d is refused because %s, want %q", c.address, c.port, flaw.why, c.refused)
		}
	}
}

// TestNodesOfTheFile: an instance's node in the operator's file, which prefer uses,
// does not limit where the instance may be.
func TestNodesOfTheFile(t *testing.T) {
	b := &Builder{options: Options{Own: func(netip.AddrPort) string { return "" }, Node: "n", NoLoopback: true, Nomad: func(netip.AddrPort) bool { return true }}}
	for _, port := range []int{80, 4646} {
		i := &discovery.Instance{Address: "127.0.0.1", Port: port, Node: "m"}
		if _, flaw := (&compilation{Builder: b}).address(i); flaw != nil {
			t.Errorf("127.0.0.1:%d of the operator's file is refused because %s", port, flaw.why)
		}
	}
}
