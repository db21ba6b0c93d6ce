package main

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"serai/internal/testhttp2"
)

// then2 sends something, and then a request of stream 3, which is to be answered as if nothing
// had been.
func then2(send func(*testhttp2.Peer)) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) {
		send(p)
		p.Get(3, "/")
	}
}

// settings2 sends settings before a request.
func settings2(all ...http2.Setting) func(*testhttp2.Peer) {
	return func(p *testhttp2.Peer) {
		p.WriteSettings(all...)
		p.Get(1, "/")
	}
}

// many2 is so many fields.
func many2(n int, more ...string) []string {
	return append(strings.Split(strings.TrimSuffix(strings.Repeat("x\ny\n", n), "\n"), "\n"), more...)
}

// call2 are the fields of a call of gRPC, and more.
func call2(more ...string) []string {
	return append([]string{":method", "POST", "te", "trailers", "content-type", "application/grpc"}, more...)
}

// byteByByte sends a request as slowly as that.
func byteByByte(p *testhttp2.Peer) {
	var frames bytes.Buffer
	f := http2.NewFramer(&frames, nil)
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/", "content-length", "3"), EndHeaders: true})
	f.WriteData(1, true, []byte("abc"))
	for _, b := range frames.Bytes() {
		p.Conn.Write([]byte{b})
	}
}

// latestReports2 are those of the years 2021 to 2026, as far as the ones before do not have
// them. The names tell whose they were where that says more.
var latestReports2 = []report2{
	// Many small fields are a few bytes on the wire (CVE-2026-49975, CVE-2026-47774).
	{name: "1300 empty cookies", head: crumbs2(1300, ""), want: "200, on"},
	{name: "1300 cookies of a letter", head: crumbs2(1300, "a"), want: "200, on", seen: "a; a; a"},
	{name: "1300 cookies in trailers", send: trailers2(true, crumbs2(1300, "a")...), want: "200, on", seen: "!a; a"},
	{name: "129 fields", head: many2(129), want: "431 too-many-fields, on", seen: "-"},
	{name: "127 fields and many cookies", head: many2(127, crumbs2(500, "a")...), want: "200, on", seen: "a; a"},
	{name: "cookies between others", head: []string{"cookie", "a=b", "x", "1", "cookie", "c=d", "y", "2", "cookie", "e=f"}, want: "200, on", seen: "a=b; c=d; e=f"},
	// What is refused has its place in the table, on which the next head builds (CVE-2023-32731).
	{name: "a head that counts on a refused one", stream: 3, send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/", many2(200, "x-kept", "as-it-was")...), EndHeaders: true, EndStream: true})
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.Fields("/", "x-kept", "as-it-was"), EndHeaders: true, EndStream: true})
	}, want: "200, on", seen: "x-kept: as-it-was"},
	{name: "a head that counts on bad trailers", stream: 3, send: func(p *testhttp2.Peer) {
		trailers2(true, "x-kept", "as-it-was", "Upper", "case")(p)
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.Fields("/", "x-kept", "as-it-was"), EndHeaders: true, EndStream: true})
	}, want: "200, on", seen: "x-kept: as-it-was"},
	{name: "a body and trailers behind a refused head", send: func(p *testhttp2.Peer) { // CVE-2021-31618
		p.Post(1, "/", many2(200)...)
		p.WriteData(1, false, []byte("abc"))
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x-sum", "1"), EndHeaders: true, EndStream: true})
	}, want: "431 too-many-fields, on", seen: "-"},
	{name: "a string of 2^31 bytes", send: block2("", "\x00\x01x\x7f\x81\xff\xff\xff\x07"), want: "GOAWAY ENHANCE_YOUR_CALM"}, // CVE-2023-36478
	{name: "a coded string of 2^31 bytes", send: block2("", "\x00\x01x\xff\x81\xff\xff\xff\x07"), want: "GOAWAY ENHANCE_YOUR_CALM"},
	{name: "an integer of six zeros", send: block2("", "\x0f\x80\x80\x80\x80\x80\x00\x01y"), want: "GOAWAY COMPRESSION_ERROR"}, // CVE-2023-33953

	// Blanks and case (LiteSpeed, Varnish).
	{name: "cookie with a tab behind", head: []string{"cookie\t", "a=b"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "cookie with a vertical tab behind", head: []string{"cookie\x0b", "a=b"}, want: "400 bad-field-name, on", seen: "-"},
	{name: "content-length with a form feed behind", head: []string{":method", "POST", "content-length\x0c", "3"}, body: "abc", want: "400 bad-field-name, on", seen: "-"},
	{name: "authority with a blank behind", head: []string{":authority", "web.example.org "}, want: "400 bad-field-value, on", seen: "-"},
	{name: "method with a blank behind", head: []string{":method", "GET "}, want: "400 bad-field-value, on", seen: "-"},
	{name: "a pseudo-field with a blank behind", head: []string{":path ", "/evil"}, want: "400 bad-pseudo-field, on", seen: "-"},
	{name: "authority with a zone", head: []string{":authority", "[fe80::1%25eth0]"}, want: "400 bad-host, on", seen: "-"}, // CVE-2026-26310
	{name: "authority with a zone that is not escaped", head: []string{":authority", "[fe80::1%eth0]:80"}, want: "400 bad-host, on", seen: "-"},
	{name: "authority with port 0", head: []string{":authority", "web.example.org:0"}, want: "200, on|400 bad-host, on"},
	{name: "authority with a port of zeros", head: []string{":authority", "web.example.org:000000080"}, want: "200, on|400 bad-host, on"},
	{name: "te with a weight", head: []string{"te", "trailers;q=0.5"}, want: "400 bad-te, on", seen: "-"},
	{name: "cache-digest", head: []string{"cache-digest", "x,;"}, want: "200, on"}, // CVE-2020-9490
	{name: "expect of a body that is none", head: []string{":method", "POST", "expect", "100-continue", "content-length", "5"}, want: "400 length-mismatch, on", seen: "-"},
	{name: "HEAD with a length", head: []string{":method", "HEAD", "content-length", "5"}, want: "400 length-mismatch, on", seen: "-"},
	{name: "CONNECT with a length", head: []string{":method", "CONNECT", ":scheme", "-", ":path", "-", "content-length", "5"}, body: "hello", want: "501 connect-refused, on", seen: "-"},
	{name: "a tunnel with a length of 0", head: connect2("content-length", "0"), open: true, want: "502, on", seen: "!ength: 0"},

	// Frames.
	{name: "every frame that nobody knows", stream: 3, send: then2(func(p *testhttp2.Peer) { // CVE-2026-27141
		p.Post(1, "/")
		for kind := 0x0a; kind < 0x60; kind++ {
			if kind != int(http2.FramePriorityUpdate) {
				p.WriteRawFrame(http2.FrameType(kind), 0xff, uint32(kind%2), []byte("\x00\x00\x00\x00?"))
			}
		}
	}), want: "200, on"},
	{name: "frames behind the fault", send: func(p *testhttp2.Peer) { // CVE-2026-27135
		p.WriteRawFrame(http2.FrameData, 0, 0, []byte("x"))
		p.WriteRawFrame(http2.FrameRSTStream, 0, 1, []byte("abc"))
		p.WriteRawFrame(http2.FramePriorityUpdate, 0, 0, []byte("\x00\x00\x00\x00"))
		p.WriteRawFrame(http2.FrameSettings, 0, 0, []byte("12345"))
	}, want: "GOAWAY PROTOCOL_ERROR"},
	{name: "a head that is cut by the end", send: func(p *testhttp2.Peer) { // CVE-2024-27983
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/")})
		p.Conn.Close()
	}, want: "end", seen: "-"},
	{name: "a request byte by byte", send: byteByByte, want: "200, on"},
	{name: "empty DATA between others", send: func(p *testhttp2.Peer) { // HAProxy 3354
		p.Post(1, "/")
		for range 4 {
			p.WriteData(1, false, make([]byte, 16000))
			p.WriteData(1, false, nil)
		}
		p.WriteData(1, true, nil)
	}, want: "200, on"},
	{name: "DATA behind the client's reset", stream: 3, send: then2(func(p *testhttp2.Peer) { // CVE-2026-26311
		p.Post(1, "/")
		p.WriteRSTStream(1, http2.ErrCodeCancel)
		p.WriteData(1, false, []byte("late"))
	}), want: "200, on|GOAWAY STREAM_CLOSED", seen: "!late"},
	{name: "trailers behind the client's reset", stream: 3, send: then2(func(p *testhttp2.Peer) {
		p.Post(1, "/")
		p.WriteRSTStream(1, http2.ErrCodeCancel)
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block("x-sum", "late"), EndHeaders: true, EndStream: true})
	}), want: "200, on|GOAWAY STREAM_CLOSED", seen: "!late"},
	{name: "reset twice, with what nobody knows", stream: 3, send: then2(func(p *testhttp2.Peer) {
		p.Post(1, "/")
		p.WriteRSTStream(1, http2.ErrCode(1<<32-1))
		p.WriteRSTStream(1, http2.ErrCodeNo)
		p.WriteWindowUpdate(1, 5)
		p.WritePriority(1, http2.PriorityParam{Weight: 3})
	}), want: "200, on"},
	{name: "a reset behind the end", stream: 3, send: then2(func(p *testhttp2.Peer) {
		p.Get(1, "/")
		p.WriteRSTStream(1, http2.ErrCodeCancel)
	}), want: "200, on"},
	{name: "GOAWAY with much to say", send: func(p *testhttp2.Peer) {
		p.Get(1, "/")
		p.WriteGoAway(1<<31-1, http2.ErrCodeInternal, make([]byte, 16000))
	}, want: "200, end"},
	{name: "PING answered that was not sent", send: func(p *testhttp2.Peer) {
		p.WritePing(true, [8]byte{1})
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "SETTINGS of the largest table", send: settings2(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1}), want: "200, on"},
	{name: "SETTINGS of no fields at all", send: settings2(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 0}), want: "200, on"},
	{name: "SETTINGS of all fields there are", send: settings2(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1<<32 - 1}), want: "200, on"}, // CVE-2025-1948
	{name: "SETTINGS of the largest frames", send: settings2(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1}), want: "200, on"},
	{name: "SETTINGS of frames of no size", send: first2(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x00"), want: "GOAWAY PROTOCOL_ERROR"}, // CVE-2026-33814
	{name: "SETTINGS of no streams", send: settings2(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}), want: "200, on"},
	{name: "SETTINGS that say two things", send: settings2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}), want: "200, on"},
	{name: "a PRIORITY_UPDATE of a whole frame", send: func(p *testhttp2.Peer) {
		p.WriteRawFrame(http2.FramePriorityUpdate, 0, 0, append([]byte{0, 0, 0, 1}, bytes.Repeat([]byte("u=1,"), 4095)...))
		p.Get(1, "/")
	}, want: "200, on"},
	{name: "a field never to be indexed", send: func(p *testhttp2.Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(p.Fields("/"), sensitive2("authorization", "secret")...), EndHeaders: true, EndStream: true})
	}, want: "200, on", seen: "secret"},

	// gRPC.
	{name: "gRPC to an unknown host", head: call2(":authority", "nobody.example.org"), want: "200 grpc 12 no-host, on"},
	{name: "gRPC without a slash", head: call2(":path", "grpc.health.v1.Health/Check"), want: "200 grpc 13 bad-target, on", seen: "-"}, // CVE-2026-33186
	{name: "gRPC with too many fields", head: call2(many2(200)...), want: "200 grpc 8 too-many-fields, on", seen: "-"},
	{name: "gRPC by GET to an unknown host", head: []string{":authority", "nobody.example.org", "te", "trailers", "content-type", "application/grpc"}, want: "200 grpc 12 no-host, on"},
	{name: "gRPC of another case to an unknown host", head: []string{":method", "POST", ":authority", "nobody.example.org", "content-type", "Application/GRPC+proto; x=y"}, want: "200 grpc 12 no-host, on"},
	{name: "what is like gRPC, to an unknown host", head: []string{":method", "POST", ":authority", "nobody.example.org", "content-type", "application/grpcx"}, want: "404 no-host, on"},
	{name: "what says that it is gRPC and something else", head: []string{":method", "POST", ":authority", "nobody.example.org", "content-type", "application/grpc", "content-type", "text/html"}, want: "404 no-host, on"},
	{name: "gRPC-Web to an unknown host", head: []string{":method", "POST", ":authority", "nobody.example.org", "content-type", "application/grpc-web+proto"}, want: "200 no-host, on"},
	{name: "gRPC-Web without a slash", head: []string{":method", "POST", ":path", "a.B/C", "content-type", "application/grpc-web-text"}, want: "200 bad-target, on", seen: "-"},
	{name: "gRPC-Web by GET to an unknown host", head: []string{":authority", "nobody.example.org", "content-type", "application/grpc-web"}, want: "404 no-host, on"},
	{name: "gRPC with a timeout that is none", head: call2("grpc-timeout", "soon"), want: "200, on", seen: "soon"},
	{name: "gRPC with a timeout of many digits", head: call2("grpc-timeout", "000000000000000001S"), want: "200, on", seen: "000000000000000001S"},
	{name: "gRPC with the longest timeout", head: call2("grpc-timeout", "99999999H"), want: "200, on"},
	{name: "gRPC with binary metadata that is no base64", head: call2("x-bin", "!!!"), want: "200, on", seen: "x-bin: !!!"}, // CVE-2024-7246
	{name: "gRPC with a status of its own", head: call2("grpc-status", "0"), want: "200, on"},
	{name: "gRPC without te", head: []string{":method", "POST", "content-type", "application/grpc"}, body: "\x00\x00\x00\x00\x00", want: "200, on"},
	{name: "gRPC whose message is shorter than it says", head: call2(), body: "\x00\xff\xff\xff\xffabc", want: "200, on"},
}

// sensitive2 is a block of one field that is never to be indexed.
func sensitive2(name, value string) []byte {
	var b bytes.Buffer
	hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: name, Value: value, Sensitive: true})
	return b.Bytes()
}
