package http1_test

import "testing"

// TestTheOnlyInstanceIsReplaced: an instance that hangs, and is the only one, collects requests. A new one takes its place,
// and the old one dies: all that may be repeated are answered by the new one.
func TestTheOnlyInstanceIsReplaced(t *testing.T) {
	const requests = 40
	k, old := web(t, settings{})
	var clients, held []*peer
	for range requests {
		c := k.dial()
		c.send("GET / HTTP/1.1", "Host: web.example.org", "")
		clients = append(clients, c)
		held = append(held, old.next())
	}
	fresh := newOrigin(t)
	go func() {
		for p := range fresh.conns {
			go func() {
				for {
					if line, err := p.r.ReadString('\n'); err != nil {
						return
					} else if line == "\r\n" {
						p.ok("new")
					}
				}
			}()
		}
	}()
	k.service("web", []string{fresh.address}, "ingress.host=web.example.org")
	k.awaitReady()
	for _, p := range held {
		p.head()
		p.reset()
	}
	failed := 0
	for _, c := range clients {
		if res, body := c.answer("GET"); res.StatusCode != 200 || body != "new" {
			failed++
			t.Log(res.StatusCode, res.Header.Get("X-Serai-Reason"))
		}
	}
	if failed > 0 {
		t.Errorf("%d of %d requests failed with the instance that was replaced", failed, requests)
	}
}
