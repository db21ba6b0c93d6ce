package main

import (
	"strings"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
)

// connect2 are the fields of an extended CONNECT, and more.
func connect2(more ...string) []string {
	return append([]string{":method", "CONNECT", ":protocol", "websocket", "sec-websocket-version", "13"}, more...)
}

// crumbs2 are so many cookies.
func crumbs2(n int, value string) []string {
	return strings.Split(strings.TrimSuffix(strings.Repeat("cookie\n"+value+"\n", n), "\n"), "\n")
}

var moreReports2 = []report2{
	// Where an instance of HTTP/1 may see another request than serai.
	{name: "path with a backslash", head: []string{":path", `/\evil.test`}, want: "200, on", seen: "GET /\\evil.test "},
	{name: "path of a backslash", head: []string{":path", `\evil`}, want: "400 bad-target, on", seen: "-"},
	{name: "path is a query", head: []string{":path", "?a=b"}, want: "400 bad-target, on", seen: "-"},
	{name: "path is a fragment", head: []string{":path", "#a"}, want: "400 bad-target, on", seen: "-"},
	{name: "path with DEL", head: []string{":path", "/a\x7f"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "path beyond ASCII", head: []string{":path", "/caf\xc3\xa9"}, want: "400 bad-target, on", seen: "-"},
	{name: "path with a broken escape", head: []string{":path", "/%"}, want: "502 upstream-closed, on"},
	{name: "path with an escaped NUL", head: []string{":path", "/%00"}, want: "200, on"},
	{name: "path with an escaped CR LF", head: []string{":path", "/%0d%0aX-Evil:%201"}, want: "200, on", seen: "/%0d%0aX-Evil:%201"},
	{name: "path that climbs", head: []string{":path", "/../../etc/passwd"}, want: "200, on", seen: "GET /../../etc/passwd"},
	{name: "path with a vertical tab", head: []string{":path", "/a\x0bHTTP/1.1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "path of 20000 bytes", head: []string{":path", "/" + strings.Repeat("a", 20000)}, want: "414 target-too-long, on", seen: "-"},
	{name: "query with a blank", head: []string{":path", "/?a=b c"}, want: "400 bad-target, on", seen: "-"},
	{name: "authority with an empty port", head: []string{":authority", "web.example.org:"}, want: "200, on"},
	{name: "authority with two ports", head: []string{":authority", "web.example.org:80:80"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a dot behind", head: []string{":authority", "web.example.org."}, want: "200, on"},
	{name: "authority in upper case", head: []string{":authority", "WEB.EXAMPLE.ORG"}, want: "200, on"},
	{name: "authority with an escape", head: []string{":authority", "web.example.org%00"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a tab", head: []string{":authority", "web.example.org\t"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "authority with a backslash", head: []string{":authority", `web.example.org\evil.test`}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a query", head: []string{":authority", "web.example.org?evil.test"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a fragment", head: []string{":authority", "web.example.org#evil.test"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority of 300 bytes", head: []string{":authority", strings.Repeat("a", 300)}, want: "400 bad-host, on", seen: "-"},
	{name: "authority is a broken address", head: []string{":authority", "[::1"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority and an empty host", head: []string{"host", ""}, want: "400 two-hosts, on", seen: "-"},
	{name: "authority and host twice", head: []string{"host", "web.example.org", "host", "web.example.org"}, want: "400 host-missing, on", seen: "-"},
	{name: "host with a comma", head: []string{":authority", "-", "host", "web.example.org, evil.test"}, want: "400 bad-host, on", seen: "-"},
	{name: "method with a tab", head: []string{":method", "GET\tx"}, want: "400 bad-method, on", seen: "-"},
	{name: "method with a colon", head: []string{":method", "GET:"}, want: "400 bad-method, on", seen: "-"},
	{name: "method of 1000 bytes", head: []string{":method", strings.Repeat("A", 1000)}, want: "200, on"},
	{name: "method TRACE", head: []string{":method", "TRACE"}, want: "200, on"},
	{name: "method connect in lower case with a protocol", head: []string{":method", "connect", ":protocol", "websocket"}, want: "400 bad-protocol, on", seen: "-"},
	{name: "scheme with CR LF", head: []string{":scheme", "http\r\nX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "length is empty", head: []string{":method", "POST", "content-length", ""}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length with a blank within", head: []string{":method", "POST", "content-length", "3 3"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length with leading zeros", head: []string{":method", "POST", "content-length", "0003"}, body: "abc", want: "200, on", seen: "ength: 0003"},
	{name: "length -0", head: []string{":method", "POST", "content-length", "-0"}, want: "400 bad-content-length, on", seen: "-"},
	{name: "length beyond 64 bits", head: []string{":method", "POST", "content-length", "18446744073709551619"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length 0 of a GET", head: []string{"content-length", "0"}, want: "200, on"},
	{name: "transfer-encoding identity", head: []string{"transfer-encoding", "identity"}, want: "400 connection-field, on", seen: "-"},
	{name: "transfer-encoding with an underscore", head: []string{":method", "POST", "transfer_encoding", "chunked"}, body: "abc", want: "200, on", seen: "!ransfer_encoding"},
	{name: "transfer-encoding with a blank behind", head: []string{"transfer-encoding ", "chunked"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "content-length with a blank before", head: []string{":method", "POST", " content-length", "3"}, body: "abc", want: "400 bad-field-name, on", seen: "-"},
	{name: "name of a colon", head: []string{":", "x"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "name with a bracket", head: []string{"a(b", "x"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name with DEL", head: []string{"a\x7f", "x"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "value with a control byte", head: []string{"x", "a\x01b"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with DEL", head: []string{"x", "a\x7fb"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with a form feed", head: []string{"x", "a\x0cb"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "te twice", head: []string{"te", "trailers", "te", "trailers"}, want: "200, on"},
	{name: "te is empty", head: []string{"te", ""}, want: "400 bad-te, on", seen: "-"},
	{name: "trailer that names the framing", head: []string{":method", "POST", "trailer", "content-length"}, body: "abc", want: "200, on", seen: "!railer: content-length"},
	{name: "a cookie with CR LF in one crumb", head: []string{"cookie", "a=b", "cookie", "c\r\nX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "200 cookies", head: crumbs2(200, "a=b"), want: "200, on", seen: "a=b; a=b"},
	{name: "1500 cookies", head: crumbs2(1500, "a=b"), want: "200, on"},
	{name: "3000 cookies", head: crumbs2(3000, "a=b"), want: "431 head-too-large, on", seen: "-"},
	{name: "an origin's own hop field", head: []string{"x-serai-hops", "8"}, want: "508 loop, on"},
	{name: "x-forwarded-for of its own", head: []string{"x-forwarded-for", "6.6.6.6"}, want: "200, on", seen: "!6.6.6.6"},
	{name: "x-forwarded-for with an underscore", head: []string{"x_forwarded_for", "6.6.6.6"}, want: "200, on", seen: "!6.6.6.6"},
	{name: "trailers alone", send: func(p *testhttp2.Peer) {
		p.Post(1, "/", "te", "trailers")
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x-sum", "1"), EndHeaders: true, EndStream: true})
	}, want: "200, on", seen: "x-sum: 1"},
	{name: "trailers with connection", send: trailers2(true, "connection", "x"), want: "400 bad-trailer, on", seen: "!connection: x"},
	{name: "trailers of who the client is", send: trailers2(true, "x-forwarded-for", "6.6.6.6", "authorization", "evil"), want: "200, on", seen: "!6.6.6.6|!evil"},
	{name: "trailers twice", send: func(p *testhttp2.Peer) {
		trailers2(true, "x-sum", "1")(p)
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x-sum", "2"), EndHeaders: true, EndStream: true})
	}, want: "GOAWAY STREAM_CLOSED|200, GOAWAY STREAM_CLOSED"}, // the request was whole: it is answered, or not yet

	// Tunnels.
	{name: "a tunnel that ends with its head", head: connect2(), want: "502, on"},
	{name: "a tunnel with a length", head: connect2("content-length", "5"), body: "hello", want: "400 length-mismatch, on", seen: "-"},
	{name: "a tunnel with an upgrade", head: connect2("upgrade", "websocket"), want: "400 connection-field, on", seen: "-"},
	{name: "a tunnel with a key", head: connect2("sec-websocket-key", "evil"), want: "502, on", seen: "!evil"},
	{name: "a tunnel without a scheme", head: connect2(":scheme", "-"), want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "a tunnel of two protocols", head: connect2(":protocol", "h2c"), want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "a tunnel for a URL", head: connect2(":path", "http://evil.test/"), want: "400 bad-target, on", seen: "-"},
	{name: "a tunnel of h2c", head: []string{":method", "CONNECT", ":protocol", "h2c"}, want: "502, on", seen: "!pgrade: h2c"},
	{name: "a tunnel with a request in it", head: connect2(), body: "GET /evil HTTP/1.1\r\nHost: web.example.org\r\n\r\n", open: true, want: "502, on", seen: "!GET /evil"},

	// Settings.
	{name: "SETTINGS nobody knows", send: func(p *testhttp2.Peer) {
		p.WriteSettings(http2.Setting{ID: 0xffff, Val: 1<<32 - 1}, http2.Setting{ID: 0x1a1a, Val: 1})
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "SETTINGS_ENABLE_CONNECT_PROTOCOL of 2", send: first2(http2.FrameSettings, 0, 0, "\x00\x08\x00\x00\x00\x02"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "SETTINGS answered that were not sent", send: func(p *testhttp2.Peer) {
		p.WriteSettingsAck()
		p.WriteSettingsAck()
		p.WriteSettingsAck()
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "a window that shrinks below nothing", send: func(p *testhttp2.Peer) {
		p.Get(1, "/")
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	}, want: "200, on"},
	{name: "an empty table", send: func(p *testhttp2.Peer) {
		p.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "a body before the answer to SETTINGS", send: func(p *testhttp2.Peer) {
		p.Post(1, "/")
		for range 4 {
			p.WriteData(1, false, make([]byte, 16000))
		}
		p.WriteData(1, true, []byte("last"))
	}, want: "200, on", seen: "last"},
	{name: "a priority of 9", head: []string{"priority", "u=9, i=2"}, want: "200, on"},
	{name: "a priority that is no list", head: []string{"priority", strings.Repeat("(", 200)}, want: "200, on"},
	{name: "HEADERS of a lower stream", send: func(p *testhttp2.Peer) {
		p.Get(5, "/")
		p.Get(1, "/")
	}, want: "GOAWAY STREAM_CLOSED"},
	{name: "HEADERS of the same stream again", send: func(p *testhttp2.Peer) {
		p.Get(1, "/")
		p.Get(1, "/")
	}, want: "GOAWAY STREAM_CLOSED|200, GOAWAY STREAM_CLOSED"}, // the first is answered, or not yet
	{name: "a stream of an even number", send: func(p *testhttp2.Peer) { p.Get(2, "/") }, want: "GOAWAY PROTOCOL_ERROR"},
	{name: "DATA of a stream that is not open", send: first2(http2.FrameData, 1, 5, "x"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "RST_STREAM of a stream that is not open", send: first2(http2.FrameRSTStream, 0, 5, "\x00\x00\x00\x08"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "WINDOW_UPDATE of a stream that is not open", send: first2(http2.FrameWindowUpdate, 0, 5, "\x00\x00\x00\x08"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "CONTINUATION of nothing, and then the end", send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/"), EndStream: true})
		p.WriteContinuation(1, false, nil)
		p.WriteContinuation(1, true, nil)
	}, want: "200, on"},
	{name: "HTTP/1 in place of a frame", send: func(p *testhttp2.Peer) { p.Conn.Write([]byte("GET / HTTP/1.1\r\nHost: web.example.org\r\n\r\n")) }, want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "the preface twice", send: func(p *testhttp2.Peer) { p.Conn.Write([]byte(http2.ClientPreface)) }, want: "GOAWAY FRAME_SIZE_ERROR"},
}
