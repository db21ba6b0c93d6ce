package http1_test

import "testing"

// TestInstanceFailsDuringAnUpload: the client is told, although it is still
// sending.
func TestInstanceFailsDuringAnUpload(t *testing.T) {
	for name, fail := range map[string]struct {
		do     func(*peer)
		reason string
	}{
		"closed":     {func(p *peer) { p.Close() }, "upstream-closed"},
		"bad answer": {func(p *peer) { p.write("HTTP/1.1 200 OK\nContent-Length: 0\n\n") }, "bad-answer"},
		"switched":   {func(p *peer) { p.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n") }, "bad-answer"},
	} {
		t.Run(name, func(t *testing.T) {
			k, o := web(t, settings{})
			c := k.dial()
			c.send("POST / HTTP/1.1", "Host: web.example.org", "Content-Length: 1000", "", "some")
			p := o.next()
			p.head()
			p.read("some\r\n")
			fail.do(p)
			c.status("POST", 502, fail.reason)
			c.ended()
		})
	}
}
