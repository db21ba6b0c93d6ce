package testhttp2

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
)

// Attack is something that ends the connection.
type Attack struct {
	Name  string
	Cause string        // that serai counts it by
	Code  http2.ErrCode // that it ends with
	Run   func(*Peer)   // until the connection has ended
	Reads bool          // Run reads answers: nobody else may meanwhile
}

// Serve is the instance that attacks want.
func Serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/wait":
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
	case "/large":
		w.Write(make([]byte, 1<<20))
	}
}

// flood does something until the connection has ended.
func flood(f func(p *Peer, i int) error) func(*Peer) {
	const far = 100_000 // more than any limit allows
	return func(p *Peer) {
		for i := range far {
			if f(p, i) != nil {
				return
			}
		}
	}
}

// onStream floods with a stream open.
func onStream(f func(p *Peer) error) func(*Peer) {
	return func(p *Peer) {
		p.Post(1, "/wait")
		flood(func(p *Peer, _ int) error { return f(p) })(p)
	}
}

// frame sends one that is wrong by itself, with a stream open.
func frame(t http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) func(*Peer) {
	return func(p *Peer) {
		p.Post(1, "/wait")
		p.WriteRawFrame(t, flags, stream, payload)
	}
}

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// id is that of the client's stream i.
func id(i int) uint32 { return uint32(2*i + 1) }

// Attacks are all of them.
func Attacks() []Attack {
	var all []Attack
	add := func(cause string, code http2.ErrCode, attacks map[string]func(*Peer)) {
		for name, run := range attacks {
			reads := name == "WINDOW_UPDATE of closed streams" || name == "a stream below the last one"
			all = append(all, Attack{name, cause, code, run, reads})
		}
	}
	add("resets", http2.ErrCodeEnhanceYourCalm, resets())
	add("control-frames", http2.ErrCodeEnhanceYourCalm, frames())
	add("head", http2.ErrCodeEnhanceYourCalm, heads())
	add("protocol", http2.ErrCodeFlowControl, windows())
	add("protocol", http2.ErrCodeFrameSize, map[string]func(*Peer){
		"RST_STREAM of 3 bytes": frame(http2.FrameRSTStream, 0, 1, 0, 0, 0),
		"PING of 7 bytes":       frame(http2.FramePing, 0, 0, make([]byte, 7)...),
		"SETTINGS of 5 bytes":   frame(http2.FrameSettings, 0, 0, make([]byte, 5)...),
		"a frame of 16385":      frame(http2.FrameData, 0, 1, make([]byte, 16385)...),
	})
	add("protocol", http2.ErrCodeProtocol, map[string]func(*Peer){
		"a window of nothing":        frame(http2.FrameWindowUpdate, 0, 0, number(0)...),
		"RST_STREAM of an idle one":  frame(http2.FrameRSTStream, 0, 3, number(8)...),
		"DATA of an idle stream":     frame(http2.FrameData, 0, 3, 'x'),
		"windows of an idle stream":  frame(http2.FrameWindowUpdate, 0, 3, number(1)...),
		"a stream of an even number": func(p *Peer) { p.Get(2, "/") },
		"a push":                     frame(http2.FramePushPromise, 4, 1, number(2)...),
		"more padding than DATA":     frame(http2.FrameData, http2.FlagDataPadded, 1, 9, 0),
	})
	add("protocol", http2.ErrCodeStreamClosed, map[string]func(*Peer){
		"HEADERS behind the end": func(p *Peer) { p.Get(1, "/wait"); p.Get(1, "/wait") },
		"a stream below the last one": func(p *Peer) {
			p.Get(1<<31-1, "/")
			p.Answer(1<<31 - 1)
			p.Get(5, "/")
		},
	})
	add("protocol", http2.ErrCodeCompression, map[string]func(*Peer){
		"table resizing": func(p *Peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(strings.Repeat("\x20\x3f\xe1\x1f", 3000)), EndHeaders: true, EndStream: true})
		},
		"an index beyond the table": func(p *Peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0x01}, EndHeaders: true, EndStream: true})
		},
	})
	return all
}

// resets are streams that end for the client's sake, again and again: by it
// (CVE-2023-44487) or by serai (CVE-2025-8671).
func resets() map[string]func(*Peer) {
	fault := func(path string, f func(p *Peer, id uint32) error) func(*Peer) {
		return flood(func(p *Peer, i int) error {
			if err := p.Get(id(i), path); err != nil {
				return err
			}
			return f(p, id(i))
		})
	}
	upload := func(f func(p *Peer, id uint32) error, fields ...string) func(*Peer) {
		return flood(func(p *Peer, i int) error {
			if err := p.Post(id(i), "/wait", fields...); err != nil {
				return err
			}
			return f(p, id(i))
		})
	}
	return map[string]func(*Peer){
		"rapid reset":   fault("/", func(p *Peer, id uint32) error { return p.WriteRSTStream(id, http2.ErrCodeCancel) }),
		"rapid resets":  fault("/wait", func(p *Peer, id uint32) error { return p.WriteRSTStream(id, http2.ErrCodeCancel) }),
		"reset uploads": upload(func(p *Peer, id uint32) error { return p.WriteRSTStream(id, http2.ErrCodeNo) }),
		"made you reset, by windows of nothing": fault("/wait", func(p *Peer, id uint32) error {
			return p.WriteRawFrame(http2.FrameWindowUpdate, 0, id, number(0))
		}),
		"made you reset, by windows too large": fault("/wait", func(p *Peer, id uint32) error {
			return p.WriteWindowUpdate(id, 1<<31-1)
		}),
		"made you reset, by DATA behind the end": fault("/wait", func(p *Peer, id uint32) error { return p.WriteData(id, true, []byte("x")) }),
		"made you reset, by a body too long": upload(func(p *Peer, id uint32) error {
			return p.WriteData(id, false, []byte("xy"))
		}, "content-length", "1"),
		"made you reset, by a body too short": upload(func(p *Peer, id uint32) error {
			return p.WriteData(id, true, nil)
		}, "content-length", "1"),
		"made you reset, by trailers without an end": upload(func(p *Peer, id uint32) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0, 1, 'x', 1, 'y'}, EndHeaders: true})
		}),
		"made you reset, by priorities": flood(func(p *Peer, i int) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), BlockFragment: p.Fields("/wait"), EndHeaders: true, EndStream: true, Priority: http2.PriorityParam{StreamDep: id(i)}})
		}),
		"malformed requests": flood(func(p *Peer, i int) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: true})
		}),
		"empty HEADERS": flood(func(p *Peer, i int) error {
			return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i), EndHeaders: true, EndStream: true})
		}),
		"more streams than there may be": flood(func(p *Peer, i int) error { return p.Get(id(i), "/wait") }),
		"RST_STREAM again and again": func(p *Peer) {
			p.Get(1, "/")
			flood(func(p *Peer, _ int) error { return p.WriteRSTStream(1, http2.ErrCodeCancel) })(p)
		},
	}
}

// frames are those that carry nothing.
func frames() map[string]func(*Peer) {
	all := map[string]func(p *Peer) error{
		"SETTINGS":         func(p *Peer) error { return p.WriteSettings() },
		"large SETTINGS":   func(p *Peer) error { return p.WriteSettings(make([]http2.Setting, 2000)...) },
		"SETTINGS answers": func(p *Peer) error { return p.WriteSettingsAck() },
		"PING":             func(p *Peer) error { return p.WritePing(false, [8]byte{}) },
		"PING answers":     func(p *Peer) error { return p.WritePing(true, [8]byte{}) },
		"PRIORITY":         func(p *Peer) error { return p.WritePriority(7, http2.PriorityParam{Weight: 1}) },
		"PRIORITY_UPDATE":  func(p *Peer) error { return p.WritePriorityUpdate(1, "u=1") },
		"unknown frames":   func(p *Peer) error { return p.WriteRawFrame(0x77, 0, 0, nil) },
		"GOAWAY":           func(p *Peer) error { return p.WriteGoAway(0, http2.ErrCodeNo, make([]byte, 1000)) },
		"WINDOW_UPDATE":    func(p *Peer) error { return p.WriteWindowUpdate(0, 1) },
		"empty DATA":       func(p *Peer) error { return p.WriteData(1, false, nil) },
		"padding": func(p *Peer) error {
			return p.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, append([]byte{255}, make([]byte, 255)...))
		},
	}
	named := make(map[string]func(*Peer))
	for name, f := range all {
		named[name] = onStream(f)
	}
	named["WINDOW_UPDATE of closed streams"] = func(p *Peer) {
		p.Get(1, "/")
		p.Answer(1)
		flood(func(p *Peer, _ int) error { return p.WriteWindowUpdate(1, 1) })(p)
	}
	named["one byte at a time"] = func(p *Peer) {
		p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		p.Get(1, "/large")
		flood(func(p *Peer, _ int) error { return p.WriteWindowUpdate(1, 1) })(p)
	}
	named["empty CONTINUATION"] = continued(func(*Peer) []byte { return nil })
	named["fields byte by byte"] = continued(func(*Peer) []byte { return []byte{0x82} })
	return named
}

// continued is a head of which there is always more.
func continued(more func(*Peer) []byte) func(*Peer) {
	return func(p *Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/")})
		b := more(p)
		flood(func(p *Peer, _ int) error { return p.WriteContinuation(1, false, b) })(p)
	}
}

// heads are larger than heads may be (CVE-2024-27316 is the first).
func heads() map[string]func(*Peer) {
	field := "\x00\x01a\x64" + strings.Repeat("x", 100)
	return map[string]func(*Peer){
		"CONTINUATION":             continued(func(*Peer) []byte { return []byte(strings.Repeat(field, 150)) }),
		"fields of 16 bytes":       continued(func(*Peer) []byte { return []byte("\x00\x01a\x0c" + strings.Repeat("x", 12)) }),
		"a field in pieces of 16":  trickled(16),
		"a field without end":      trickled(16000),
		"HPACK bomb":               bomb(16000),
		"HPACK bomb, a bit by bit": bomb(100),
		"a field again and again":  continued(func(*Peer) []byte { return []byte(strings.Repeat("\x82", 1000)) }),
	}
}

// trickled is a field of 65536 bytes, in pieces.
func trickled(size int) func(*Peer) {
	return func(p *Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(p.Fields("/"), 0, 0x7f, 0x81, 0xff, 0x03)})
		piece := []byte(strings.Repeat("n", size))
		flood(func(p *Peer, _ int) error { return p.WriteContinuation(1, false, piece) })(p)
	}
}

// bomb is an entry of 4000 bytes, and then a byte for each repetition.
func bomb(size int) func(*Peer) {
	return func(p *Peer) {
		p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Fields("/", "a", strings.Repeat("x", 4000))})
		repeated := []byte(strings.Repeat("\xbe", size))
		flood(func(p *Peer, _ int) error { return p.WriteContinuation(1, false, repeated) })(p)
	}
}

// windows are larger than windows may be, or are not heeded.
func windows() map[string]func(*Peer) {
	return map[string]func(*Peer){
		"a connection's window of 2^31": frame(http2.FrameWindowUpdate, 0, 0, number(1<<31-1)...),
		"a setting of 2^31":             frame(http2.FrameSettings, 0, 0, append([]byte{0, 4}, number(1<<31)...)...),
		"a setting on top of a window": func(p *Peer) {
			p.Post(1, "/wait")
			p.WriteWindowUpdate(1, 1<<31-1-65535)
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65536})
		},
		"more DATA than the window": func(p *Peer) {
			for i := range 64 { // streams that nobody reads would be reset
				p.Post(id(i), "/wait", "content-length", "65536")
			}
			data := make([]byte, 16000)
			for range 5 {
				for i := range 64 {
					if p.WriteData(id(i), false, data) != nil {
						return
					}
				}
			}
		},
	}
}

// SlowAttacks end the connection when what they keep waiting has waited for long enough.
func SlowAttacks() []Attack {
	// Windows are open, and nothing is read but by who waits for the end.
	taken := func(window uint32) func(*Peer) {
		return func(p *Peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			if window > 0 {
				p.WriteWindowUpdate(0, window)
			}
			for i := range 100 {
				p.Get(id(i), "/large")
			}
		}
	}
	half := func(write func(p *Peer)) func(*Peer) {
		return func(p *Peer) {
			p.Get(1, "/wait")
			write(p)
		}
	}
	return []Attack{
		{"a window that is not opened", "slow", http2.ErrCodeEnhanceYourCalm, taken(0), false},
		{"answers that are not read", "slow", http2.ErrCodeEnhanceYourCalm, taken(1<<31 - 1 - 65535), true},
		{"half a head", "head", http2.ErrCodeEnhanceYourCalm, half(func(p *Peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: p.Fields("/")})
		}), false},
		{"half a frame", "head", http2.ErrCodeEnhanceYourCalm, half(func(p *Peer) { p.Conn.Write([]byte{0, 0, 100, 0x77, 0, 0, 0, 0, 0, 1}) }), false},
		{"half a frame's header", "head", http2.ErrCodeEnhanceYourCalm, half(func(p *Peer) { p.Conn.Write([]byte{0, 0}) }), false},
	}
}
