package wire

import "testing"

// TestAppendRequest: what a head says is written in the order that instances have
// always got it in.
func TestAppendRequest(t *testing.T) {
	fields := []Field{
		{Name: []byte("accept"), Value: []byte("*/*")},
		{Name: []byte("X-Gone"), Value: []byte("1"), Kind: Dropped},
		{Name: []byte("Content-Length"), Value: []byte("5"), Kind: ContentLength},
	}
	for name, c := range map[string]struct {
		head OutgoingRequest
		want string
	}{
		"bare":     {OutgoingRequest{}, ""},
		"fields":   {OutgoingRequest{Fields: fields, Framing: Length, Size: 5}, "accept: */*\r\nContent-Length: 5\r\n"},
		"chunked":  {OutgoingRequest{Framing: Chunked}, "Transfer-Encoding: chunked\r\n"},
		"upgrade":  {OutgoingRequest{Upgrade: []byte("websocket")}, "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
		"trailers": {OutgoingRequest{Trailers: true}, "Connection: TE\r\nTE: trailers\r\n"},
		"all": {OutgoingRequest{Fields: fields[:1], Framing: Chunked, Upgrade: []byte("websocket"), Trailers: true},
			"accept: */*\r\nTransfer-Encoding: chunked\r\nConnection: Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n"},
	} {
		h := c.head
		h.Method, h.Target, h.Authority = []byte("GET"), []byte("/a?b"), []byte("a.test:80")
		want := "GET /a?b HTTP/1.1\r\nHost: a.test:80\r\n" + c.want + "\r\n"
		if got := string(AppendRequest(nil, &h)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
