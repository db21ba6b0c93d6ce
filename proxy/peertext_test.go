package proxy

import (
	"net/netip"
	"strings"
	"testing"

	"serai/wire"
)

// TestPeerTextChangesNothing: an instance is told the same of a client whether the texts
// of its address and of the port were made by the engine or are made for the request.
func TestPeerTextChangesNothing(t *testing.T) {
	for _, address := range []string{"203.0.113.9:1", "[2001:db8::9]:1"} {
		for spoken, port := range map[proto]string{plainHTTP: "8080", secureHTTP: "443"} {
			texts(t, address, spoken, port)
		}
	}
}

// texts does so for a client that speaks a protocol to whoever is in front of serai.
func texts(t *testing.T, address string, spoken proto, port string) {
	told := func(withText bool) string {
		x := &Exchange{Peer: netip.MustParseAddrPort(address), Local: netip.MustParseAddrPort("192.0.2.80:8080"), proto: spoken}
		x.Client, x.Head.Host = x.Peer.Addr(), []byte("shop.example.org")
		if withText {
			x.PeerText, x.PortText = x.Peer.Addr().AppendTo(nil), []byte("8080")
		}
		return string(wire.AppendFields(nil, x.addForwarded(nil, nil)))
	}
	with, without := told(true), told(false)
	if with != without {
		t.Errorf("%s\nand without:\n%s", with, without)
	}
	if want := "X-Forwarded-Port: " + port + "\r\n"; !strings.Contains(with, want) {
		t.Errorf("%s\nwithout %s", with, want)
	}
}
