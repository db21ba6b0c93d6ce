package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"serai/internal/testhttp2"
	"serai/nomad"
)

// report2 is what somebody reported of another server's or proxy's HTTP/2, tried on this
// one from the side of the client.
type report2 struct {
	name string
	// head is what differs in the fields of stream 1 from a GET of /: pairs of names and
	// values in place of, or behind, those; a value of "-" drops the field.
	head []string
	// body is sent as DATA, where there is one; open leaves the stream open.
	body string
	open bool
	// send sends something else in place of these.
	send func(p *testhttp2.Peer)
	// stream is the one that counts, 1 unless it says another.
	stream uint32
	// want is how it ends, and whether the connection goes on; between | what may be instead.
	// Seen is what the instance is to have got, parts between |, "-" for nothing; behind "!"
	// what it is not.
	want, seen string
}

// fields are those of stream 1.
func (r *report2) fields() []string {
	all := []string{":method", "GET", ":scheme", "http", ":authority", "web.example.org", ":path", "/"}
	behind := []string{}
	dropped := map[string]bool{}
	for i := 0; i < len(r.head); i += 2 {
		name, value := r.head[i], r.head[i+1]
		at := -1
		for k := 0; k < 8; k += 2 {
			if all[k] == name && !dropped[name] {
				at = k
			}
		}
		switch {
		case value == "-":
			all[at+1] = "-"
		case at >= 0:
			all[at+1] = value
		default:
			behind = append(behind, name, value)
		}
		dropped[name] = true // a second one is another field
	}
	sent := []string{}
	for k := 0; k < 8; k += 2 {
		if all[k+1] != "-" {
			sent = append(sent, all[k], all[k+1])
		}
	}
	return append(sent, behind...)
}

func (r *report2) run(p *testhttp2.Peer) {
	if r.send != nil {
		r.send(p)
		return
	}
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Block(r.fields()...), EndHeaders: true, EndStream: r.body == "" && !r.open})
	if r.body != "" {
		p.WriteData(1, !r.open, []byte(r.body))
	}
}

// outcome2 reads how a stream ends, and whether the next request is answered.
func outcome2(p *testhttp2.Peer, stream uint32) string {
	var got []string
	asked := false
	for {
		f, err := p.ReadFrame()
		if _, ofStream := err.(http2.StreamError); ofStream {
			continue
		}
		if err != nil {
			return strings.Join(append(got, "end"), ", ")
		}
		ended := false
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return strings.Join(append(got, "GOAWAY "+f.ErrCode.String()), ", ")
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == stream && !asked { // else it has ended by itself
				if f.ErrCode != http2.ErrCodeNo {
					got = append(got, f.ErrCode.String())
				}
				ended = true
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == next2 {
				return strings.Join(append(got, "on"), ", ")
			}
			if s := f.PseudoValue("status"); s != "" && f.StreamID == stream {
				for _, field := range f.RegularFields() {
					switch field.Name {
					case "x-serai-reason":
						s += " " + field.Value
					case "grpc-status":
						s += " grpc " + field.Value
					}
				}
				got = append(got, s)
			}
			ended = f.StreamEnded() && f.StreamID == stream
		case *http2.DataFrame:
			ended = f.StreamEnded() && f.StreamID == stream
		}
		if ended && !asked {
			asked = true
			p.Get(next2, "/last")
		}
	}
}

// next2 is the stream that shows that the connection goes on.
const next2 = 9999

func TestReportsOverHTTP2(t *testing.T) {
	o := newRecorder(t, func(r *http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" })
	_, address := serveStatic(t, []nomad.Registration{o.registration("ingress.host=web.example.org")})
	for i, r := range slices.Concat(clientReports2, moreReports2, latestReports2) {
		t.Run(r.name, func(t *testing.T) {
			client := fmt.Sprintf("127.3.%d.%d", i/250, 1+i%250)
			conn := dialFrom(t, client, address)
			conn.SetDeadline(time.Now().Add(long))
			p := testhttp2.NewPeer(conn, "web.example.org")
			r.run(p)
			if got := outcome2(p, max(r.stream, 1)); !slices.Contains(strings.Split(r.want, "|"), got) {
				t.Errorf("%q, want %q", got, r.want)
			}
			seen := ""
			for _, message := range o.of(client) {
				if !strings.HasPrefix(string(message), "GET /last ") {
					seen += string(message)
				}
			}
			for part := range strings.SplitSeq(r.seen, "|") {
				switch absent, is := strings.CutPrefix(part, "!"); {
				case part == "-" && seen != "", is && strings.Contains(seen, absent), !is && part != "-" && !strings.Contains(seen, part):
					t.Errorf("the instance has %q, want %q", seen, r.seen)
				}
			}
		})
	}
}
