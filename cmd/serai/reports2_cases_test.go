package main

import (
	"strings"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
)

// raw sends a frame with stream 1 open.
func raw2(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) {
		p.Post(1, "/")
		p.WriteRawFrame(kind, flags, stream, []byte(payload))
	}
}

// first2 sends one in place of a request.
func first2(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) { p.WriteRawFrame(kind, flags, stream, []byte(payload)) }
}

// block2 sends a request with a block of its own, behind or before the usual fields.
func block2(before, behind string) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) {
		b := before + string(p.Fields("/")) + behind
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(b), EndHeaders: true, EndStream: true})
	}
}

// trailers2 sends a request whose trailers these are.
func trailers2(end bool, pairs ...string) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) {
		p.Post(1, "/", "te", "trailers")
		p.WriteData(1, false, []byte("abc"))
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block(pairs...), EndHeaders: true, EndStream: end})
	}
}

var clientReports2 = []report2{
	// What a request is for.
	{name: "host and authority differ", head: []string{"host", "evil.test"}, want: "400 two-hosts, on", seen: "-"},
	{name: "host and authority differ in case", head: []string{"host", "WEB.example.org"}, want: "200, on"},
	{name: "host and authority differ by the port", head: []string{"host", "web.example.org:80"}, want: "400 two-hosts, on", seen: "-"},
	{name: "host alone", head: []string{":authority", "-", "host", "web.example.org"}, want: "200, on"},
	{name: "neither host nor authority", head: []string{":authority", "-"}, want: "400 host-missing, on", seen: "-"},
	{name: "authority is empty", head: []string{":authority", ""}, want: "400 host-missing, on", seen: "-"},
	{name: "authority is empty, host is not", head: []string{":authority", "", "host", "web.example.org"}, want: "400 two-hosts, on", seen: "-"},
	{name: "authority twice", head: []string{":authority", "web.example.org", ":authority", "web.example.org"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "authority with userinfo", head: []string{":authority", "user@web.example.org"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a path", head: []string{":authority", "web.example.org/x"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority of a k8s extension", head: []string{":authority", "extension/k8s-namespace/auth"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with CR LF", head: []string{":authority", "web.example.org\r\nX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "authority with a blank", head: []string{":authority", "web.example.org evil"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a port out of range", head: []string{":authority", "web.example.org:65536"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with a comma", head: []string{":authority", "web.example.org,evil.test"}, want: "400 bad-host, on", seen: "-"},
	{name: "host twice", head: []string{":authority", "-", "host", "web.example.org", "host", "web.example.org"}, want: "400 host-missing, on", seen: "-"},
	{name: "path is empty", head: []string{":path", ""}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "path is *", head: []string{":path", "*"}, want: "400 bad-target, on", seen: "-"},
	{name: "path is * of OPTIONS", head: []string{":method", "OPTIONS", ":path", "*"}, want: "200, on"},
	{name: "path is a URL", head: []string{":path", "http://evil.test/"}, want: "400 bad-target, on", seen: "-"},
	{name: "path without a slash", head: []string{":path", "x"}, want: "400 bad-target, on", seen: "-"},
	{name: "path with a blank", head: []string{":path", "/ HTTP/1.1\r\nHost: evil.test"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "path with a fragment", head: []string{":path", "/a#b"}, want: "400 bad-target, on", seen: "-"},
	{name: "path with a tab", head: []string{":path", "/a\tb"}, want: "400 bad-target, on", seen: "-"},
	{name: "path with NUL", head: []string{":path", "/a\x00b"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "path of two slashes", head: []string{":path", "//evil.test/x"}, want: "200, on"},
	{name: "path twice", head: []string{":path", "/", ":path", "/b"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "no path", head: []string{":path", "-"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "method is empty", head: []string{":method", ""}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "method with a request", head: []string{":method", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\nGET"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "method with a blank", head: []string{":method", "GET /x"}, want: "400 bad-method, on", seen: "-"},
	{name: "method in lower case", head: []string{":method", "get"}, want: "200, on"},
	{name: "method twice", head: []string{":method", "GET", ":method", "POST"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "no method", head: []string{":method", "-"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "method PRI", head: []string{":method", "PRI", ":path", "*"}, want: "400 bad-target, on", seen: "-"},
	{name: "no scheme", head: []string{":scheme", "-"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "scheme is empty", head: []string{":scheme", ""}, want: "400 bad-scheme, on", seen: "-"},
	{name: "scheme with a URL", head: []string{":scheme", "http://evil.test/?"}, want: "400 bad-scheme, on", seen: "-"},
	{name: "scheme https without TLS", head: []string{":scheme", "https"}, want: "200, on"},
	{name: "scheme in upper case", head: []string{":scheme", "HTTP"}, want: "200, on"},
	{name: "scheme ftp", head: []string{":scheme", "ftp"}, want: "400 bad-scheme, on", seen: "-"},
	{name: "scheme twice", head: []string{":scheme", "http", ":scheme", "http"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "a pseudo-field behind a field", head: []string{"x", "y", ":protocol", "websocket"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "status in a request", head: []string{":status", "200"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "an unknown pseudo-field", head: []string{":x", "y"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "a pseudo-field in upper case", head: []string{":METHOD", "GET"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "protocol of a GET", head: []string{":protocol", "websocket"}, want: "400 bad-protocol, on", seen: "-"},
	{name: "CONNECT", head: []string{":method", "CONNECT", ":scheme", "-", ":path", "-"}, want: "501 connect-refused, on", seen: "-"},
	{name: "CONNECT with a path", head: []string{":method", "CONNECT"}, want: "501 connect-refused, on", seen: "-"},
	{name: "CONNECT of a protocol without a path", head: []string{":method", "CONNECT", ":path", "-", ":protocol", "websocket"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "CONNECT of an unknown protocol", head: []string{":method", "CONNECT", ":protocol", "connect-udp"}, want: "502, on"},
	{name: "CONNECT of a protocol with CR LF", head: []string{":method", "CONNECT", ":protocol", "websocket\r\nX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},

	// Its fields.
	{name: "name in upper case", head: []string{"X-Y", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name with a colon", head: []string{"a:b", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name with a blank", head: []string{"a b", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name with CR LF", head: []string{"a: b\r\ntransfer-encoding", "chunked"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name with NUL", head: []string{"a\x00", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "name beyond ASCII", head: []string{"caf\xc3\xa9", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "no name", head: []string{"", "z"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "value with CR LF", head: []string{"x", "y\r\nTransfer-Encoding: chunked"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with LF", head: []string{"x", "y\nX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with CR", head: []string{"x", "y\rX-Evil: 1"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with NUL", head: []string{"x", "y\x00"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with a blank before", head: []string{"x", " y"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value with a tab behind", head: []string{"x", "y\t"}, want: "400 bad-field-value, on", seen: "-"},
	{name: "value of bytes beyond ASCII", head: []string{"x", "\xff\x80"}, want: "200, on"},
	{name: "transfer-encoding chunked", head: []string{"transfer-encoding", "chunked"}, body: "0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", want: "400 connection-field, on", seen: "-"},
	{name: "connection", head: []string{"connection", "x-forwarded-for"}, want: "400 connection-field, on", seen: "-"},
	{name: "keep-alive", head: []string{"keep-alive", "timeout=5"}, want: "400 connection-field, on", seen: "-"},
	{name: "proxy-connection", head: []string{"proxy-connection", "close"}, want: "400 connection-field, on", seen: "-"},
	{name: "upgrade", head: []string{"upgrade", "h2c"}, want: "400 connection-field, on", seen: "-"},
	{name: "http2-settings", head: []string{"http2-settings", "AAMAAABkAAQAAP__"}, want: "400 connection-field, on", seen: "-"},
	{name: "te gzip", head: []string{"te", "gzip"}, want: "400 bad-te, on", seen: "-"},
	{name: "te trailers and deflate", head: []string{"te", "trailers, deflate"}, want: "400 bad-te, on"},
	{name: "te trailers in upper case", head: []string{"te", "Trailers"}, want: "200, on"},
	{name: "expect 100", head: []string{":method", "POST", "expect", "100-continue"}, body: "abc", want: "200, on"},
	{name: "cookies in crumbs", head: []string{"cookie", "a=b", "cookie", "c=d"}, want: "200, on", seen: "a=b; c=d"},
	{name: "an empty cookie among crumbs", head: []string{"cookie", "a=b", "cookie", "", "cookie", "c=d"}, want: "200, on"},

	// Its body.
	{name: "length and no body", head: []string{"content-length", "5"}, want: "400 length-mismatch, on", seen: "-"},
	{name: "length 0 and a body", head: []string{":method", "POST", "content-length", "0"}, body: "GET /evil HTTP/1.1\r\n\r\n",
		want: "PROTOCOL_ERROR, on|200, PROTOCOL_ERROR, on", seen: "!evil"}, // its head was a whole request: it is answered, or not yet
	{name: "length too small", head: []string{":method", "POST", "content-length", "2"}, body: "abc", want: "PROTOCOL_ERROR, on"},
	{name: "length too large", head: []string{":method", "POST", "content-length", "4"}, body: "abc", want: "PROTOCOL_ERROR, on", seen: "-"},
	{name: "length with a sign", head: []string{":method", "POST", "content-length", "+3"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length in hex", head: []string{":method", "POST", "content-length", "0x3"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length of two numbers", head: []string{":method", "POST", "content-length", "3, 3"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "length twice", head: []string{":method", "POST", "content-length", "3", "content-length", "3"}, body: "abc", want: "400 content-length-twice, on", seen: "-"},
	{name: "length beyond 63 bits", head: []string{":method", "POST", "content-length", "9223372036854775808"}, body: "abc", want: "400 bad-content-length, on", seen: "-"},
	{name: "GET with a body", body: "abc", want: "200, on"},
	{name: "HEAD with a body", head: []string{":method", "HEAD"}, body: "abc", want: "200, on"},
	{name: "trailers", send: trailers2(true, "x-sum", "1"), want: "200, on", seen: "x-sum: 1"},
	{name: "trailers with a pseudo-field", send: trailers2(true, ":path", "/evil"), want: "400 bad-trailer, on", seen: "!evil"},
	{name: "trailers that do not end", send: trailers2(false, "x-sum", "1"), want: "PROTOCOL_ERROR, on"},
	{name: "trailers in upper case", send: trailers2(true, "X-Sum", "1"), want: "400 bad-trailer, on", seen: "!Sum"},
	{name: "trailers of the framing", send: trailers2(true, "content-length", "100", "transfer-encoding", "chunked"), want: "400 bad-trailer, on", seen: "!100"},
	{name: "trailers of the host", send: trailers2(true, "host", "evil.test"), want: "200, on", seen: "!evil"},
	{name: "trailers with CR LF", send: trailers2(true, "x", "y\r\n\r\nGET /evil HTTP/1.1"), want: "400 bad-trailer, on", seen: "!evil"},
	{name: "trailers behind a short body", send: func(p *testhttp2.Peer) {
		p.Post(1, "/", "content-length", "4")
		p.WriteData(1, false, []byte("abc"))
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x", "y"), EndHeaders: true, EndStream: true})
	}, want: "PROTOCOL_ERROR, on", seen: "-"},
	{name: "DATA padded by nothing", send: raw2(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1, "\x00abc"), want: "200, on", seen: "abc"},
	{name: "DATA of padding alone", send: raw2(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1, "\x02\x00\x00"), want: "200, on"},
	{name: "DATA padded by what is no zero", send: raw2(http2.FrameData, http2.FlagDataPadded|http2.FlagDataEndStream, 1, "\x02abcxx"), want: "200, on"},
	{name: "DATA without the length of its padding", send: raw2(http2.FrameData, http2.FlagDataPadded, 1, ""), want: "GOAWAY FRAME_SIZE_ERROR"},

	// Its frames.
	{name: "HEADERS of stream 0", send: first2(http2.FrameHeaders, 5, 0, "\x82"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "DATA of stream 0", send: raw2(http2.FrameData, 0, 0, "x"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "SETTINGS of stream 1", send: raw2(http2.FrameSettings, 0, 1, ""), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "PING of stream 1", send: raw2(http2.FramePing, 0, 1, "12345678"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "GOAWAY of stream 1", send: raw2(http2.FrameGoAway, 0, 1, "\x00\x00\x00\x00\x00\x00\x00\x00"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "GOAWAY of 7 bytes", send: raw2(http2.FrameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "PRIORITY of stream 0", send: raw2(http2.FramePriority, 0, 0, "\x00\x00\x00\x03\x00"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "PRIORITY of 4 bytes", send: raw2(http2.FramePriority, 0, 3, "\x00\x00\x00\x01"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "RST_STREAM of stream 0", send: raw2(http2.FrameRSTStream, 0, 0, "\x00\x00\x00\x08"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "WINDOW_UPDATE of 3 bytes", send: raw2(http2.FrameWindowUpdate, 0, 0, "\x00\x00\x01"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "SETTINGS answered with content", send: raw2(http2.FrameSettings, 1, 0, "\x00\x03\x00\x00\x00\x01"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "SETTINGS that want pushes by 2", send: raw2(http2.FrameSettings, 0, 0, "\x00\x02\x00\x00\x00\x02"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "SETTINGS of frames too small", send: raw2(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x3f\xff"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "SETTINGS of frames too large", send: raw2(http2.FrameSettings, 0, 0, "\x00\x05\x01\x00\x00\x00"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "SETTINGS without priorities by 2", send: raw2(http2.FrameSettings, 0, 0, "\x00\x09\x00\x00\x00\x02"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "CONTINUATION without HEADERS", send: first2(http2.FrameContinuation, 4, 1, "\x82"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "CONTINUATION behind the end of HEADERS", send: raw2(http2.FrameContinuation, 4, 1, "\x00\x01x\x01y"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "CONTINUATION of another stream", send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/")})
		p.WriteContinuation(3, true, nil)
	}, want: "GOAWAY PROTOCOL_ERROR"},
	{name: "PING within a head", send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/")})
		p.WritePing(false, [8]byte{})
	}, want: "GOAWAY PROTOCOL_ERROR"},
	{name: "an unknown frame within a head", send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/")})
		p.WriteRawFrame(0x77, 0, 0, nil)
	}, want: "GOAWAY PROTOCOL_ERROR"},
	{name: "a push", send: first2(http2.FramePushPromise, 4, 1, "\x00\x00\x00\x02\x82"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "HEADERS with more padding than there is", send: first2(http2.FrameHeaders, 0xd, 1, "\x05\x82"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "HEADERS too short for a priority", send: first2(http2.FrameHeaders, 0x25, 1, "\x00\x00"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "HEADERS with flags nobody knows", send: func(p *testhttp2.Peer) {
		p.WriteRawFrame(http2.FrameHeaders, 0x5|0xc2&^0x8, 1, p.Fields("/"))
	}, want: "200, on"},
	{name: "a stream with the reserved bit", send: func(p *testhttp2.Peer) {
		b := p.Fields("/")
		p.Conn.Write(append([]byte{0, 0, byte(len(b)), 1, 5, 0x80, 0, 0, 1}, b...))
	}, want: "200, on"},
	{name: "PRIORITY_UPDATE of stream 1", send: raw2(0x10, 0, 1, "\x00\x00\x00\x01u=1"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "PRIORITY_UPDATE of 3 bytes", send: raw2(0x10, 0, 0, "\x00\x00\x00"), want: "GOAWAY FRAME_SIZE_ERROR"},
	{name: "PRIORITY_UPDATE for stream 0", send: raw2(0x10, 0, 0, "\x00\x00\x00\x00u=1"), want: "GOAWAY PROTOCOL_ERROR"},
	{name: "ALTSVC from a client", send: func(p *testhttp2.Peer) {
		p.WriteRawFrame(0xa, 0, 0, []byte("\x00\x00x"))
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "no window, opened later", send: func(p *testhttp2.Peer) {
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.Get(1, "/")
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
	}, want: "200, on"},
	{name: "a request behind the client's GOAWAY", send: func(p *testhttp2.Peer) {
		p.Get(1, "/")
		p.WriteGoAway(0, http2.ErrCodeNo, nil)
	}, want: "200, end"},

	// The table of fields.
	{name: "table resized behind a field", send: block2("", "\x20"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "table resized three times", send: block2("\x20\x3f\x11\x3f\x21", ""), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "table larger than it may be", send: block2("\x3f\xe2\x1f", ""), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "index 0", send: block2("", "\x80"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "an index of 2^63", send: block2("", "\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "an integer of many zeros", send: block2("", "\xff"+strings.Repeat("\x80", 40)+"\x00"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "a field that is cut", send: block2("", "\x00\x05ab"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "Huffman with EOS", send: block2("", "\x00\x01x\x84\xff\xff\xff\xff"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "Huffman padded by zeros", send: block2("", "\x00\x01x\x81\x00"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "Huffman padded by a byte", send: block2("", "\x00\x01x\x82\x1f\xff"), want: "GOAWAY COMPRESSION_ERROR"},
	{name: "Huffman of nothing", send: block2("", "\x00\x01x\x80"), want: "200, on"},
	{name: "a name from the table beyond it", send: block2("", "\x7f\x80\x01\x01y"), want: "GOAWAY COMPRESSION_ERROR"},
}
