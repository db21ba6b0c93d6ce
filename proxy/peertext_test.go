package proxy

import (
	"net/netip"
	"testing"

	"serai/wire"
)

// TestPeerTextChangesNothing: an instance is told the same of a client whether the text
// of its address was made by the engine or is made for the request.
func TestPeerTextChangesNothing(t *testing.T) {
	for _, address := range []string{"203.0.113.9:1", "[2001:db8::9]:1"} {
		told := func(withText bool) string {
			x := &Exchange{Peer: netip.MustParseAddrPort(address), Local: netip.MustParseAddrPort("192.0.2.80:8080"), proto: plainHTTP}
			x.Client, x.Head.Host = x.Peer.Addr(), []byte("shop.example.org")
			if withText {
				x.PeerText = x.Peer.Addr().AppendTo(nil)
			}
			return string(wire.AppendFields(nil, x.addForwarded(nil, nil)))
		}
		if with, without := told(true), told(false); with != without {
			t.Errorf("%s\nand without:\n%s", with, without)
		}
	}
}
