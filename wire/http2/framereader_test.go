package http2

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	x "golang.org/x/net/http2"
)

// told notes events as lines. Bytes of one frame are one line however they come.
type told struct {
	lines   []string
	payload []byte
	frames  int
}

func (t *told) add(format string, a ...any) error {
	t.lines = append(t.lines, fmt.Sprintf(format, a...))
	return nil
}

func (t *told) Begin(f *Frame) error {
	t.payload = t.payload[:0]
	return t.add("begin %+v", *f)
}
func (t *told) Data(_ *Frame, p []byte) error     { t.payload = append(t.payload, p...); return nil }
func (t *told) Fragment(_ *Frame, p []byte) error { return t.Data(nil, p) }
func (t *told) Setting(s Setting) error           { return t.add("setting %+v", s) }
func (t *told) Ping(_ *Frame, data [8]byte) error { return t.add("ping %x", data) }
func (t *told) Reset(stream uint32, c Code) error { return t.add("reset %d %v", stream, c) }
func (t *told) Window(stream, more uint32) error  { return t.add("window %d %d", stream, more) }
func (t *told) GoAway(last uint32, c Code) error  { return t.add("goaway %d %v", last, c) }
func (t *told) Reprioritize(stream uint32, value []byte) error {
	return t.add("priority %d %q", stream, value)
}
func (t *told) End(f *Frame) error {
	t.frames++
	if f.Type == Data || f.Type == Headers || f.Type == Continuation {
		t.add("payload %x", t.payload)
	}
	return t.add("end")
}

// read reads b in pieces of the sizes that split has, again and again, each of which
// is overwritten once it has been taken.
func read(b, split []byte) (*told, *FrameReader, error) {
	t, r := new(told), new(FrameReader)
	for i := 0; len(b) > 0; i++ {
		n := len(b)
		if len(split) > 0 {
			n = min(n, 1+int(split[i%len(split)]))
		}
		piece := bytes.Clone(b[:n])
		if err := r.Take(piece, t); err != nil {
			return t, r, err
		}
		clear(piece)
		b = b[n:]
	}
	return t, r, nil
}

// expected is what the library makes of b, as events.
func expected(b []byte) (*told, error) {
	t := new(told)
	f := x.NewFramer(nil, bytes.NewReader(b))
	f.SetMaxReadFrameSize(FrameSize)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return t, err
		}
		if _, pushes := frame.(*x.PushPromiseFrame); pushes {
			return t, x.ConnectionError(x.ErrCodeProtocol)
		}
		if s, settles := frame.(*x.SettingsFrame); settles {
			if err := s.ForeachSetting(valid); err != nil {
				return t, err
			}
		}
		header := frame.Header()
		h := Frame{Header: Header{int(header.Length), Type(header.Type), Flags(header.Flags), header.StreamID}, Content: int(header.Length)}
		switch frame := frame.(type) {
		case *x.DataFrame:
			h.Content = len(frame.Data())
			t.Begin(&h)
			t.Data(&h, frame.Data())
		case *x.HeadersFrame:
			h.Content = len(frame.HeaderBlockFragment())
			if frame.HasPriority() {
				h.Parent = frame.Priority.StreamDep
			}
			t.Begin(&h)
			t.Fragment(&h, frame.HeaderBlockFragment())
		case *x.PriorityFrame:
			h.Parent = frame.StreamDep
			t.Begin(&h)
		case *x.ContinuationFrame:
			t.Begin(&h)
			t.Fragment(&h, frame.HeaderBlockFragment())
		default:
			t.Begin(&h)
		}
		switch frame := frame.(type) {
		case *x.SettingsFrame:
			for i := range frame.NumSettings() {
				s := frame.Setting(i)
				t.Setting(Setting{SettingID(s.ID), s.Val})
			}
		case *x.PingFrame:
			t.Ping(nil, frame.Data)
		case *x.RSTStreamFrame:
			t.Reset(frame.StreamID, Code(frame.ErrCode))
		case *x.WindowUpdateFrame:
			t.Window(frame.StreamID, frame.Increment)
		case *x.GoAwayFrame:
			t.GoAway(frame.LastStreamID, Code(frame.ErrCode))
		case *x.PriorityUpdateFrame:
			if h.Length <= maxFirst {
				t.Reprioritize(frame.PrioritizedStreamID, []byte(frame.Priority))
			}
		}
		t.End(&h)
	}
}

// valid reports what is wrong with a setting that the library lets pass in a frame.
func valid(s x.Setting) error {
	if (s.ID == x.SettingEnableConnectProtocol || s.ID == x.SettingID(NoRFC7540Priorities)) && s.Val > 1 {
		return x.ConnectionError(x.ErrCodeProtocol)
	}
	return s.Valid()
}

// FuzzFrameReader holds the reader to that of the library, however the bytes are split.
func FuzzFrameReader(f *testing.F) {
	seed := func(write func(*x.Framer)) {
		var b bytes.Buffer
		fr := x.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		write(fr)
		f.Add(b.Bytes(), []byte{0})
		f.Add(b.Bytes(), []byte{2, 17, 5})
	}
	seed(func(fr *x.Framer) {
		fr.WriteSettings()
		fr.WriteSettings(x.Setting{ID: x.SettingEnablePush, Val: 1}, x.Setting{ID: x.SettingInitialWindowSize, Val: 1 << 31})
	})
	seed(func(fr *x.Framer) {
		fr.WriteSettings(x.Setting{ID: x.SettingMaxFrameSize, Val: 1 << 15})
		fr.WriteSettingsAck()
		fr.WriteHeaders(x.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("fields"), PadLength: 9, Priority: x.PriorityParam{StreamDep: 3, Exclusive: true}})
		fr.WriteContinuation(1, false, nil)
		fr.WriteContinuation(1, true, []byte("more"))
		fr.WriteDataPadded(1, false, []byte("content"), make([]byte, 255))
		fr.WriteDataPadded(1, true, nil, []byte{0})
		fr.WritePing(true, [8]byte{1, 2, 3, 4, 5, 6, 7, 8})
		fr.WriteRSTStream(1, x.ErrCodeCancel)
		fr.WriteWindowUpdate(0, 1<<31-1)
		fr.WriteGoAway(7, x.ErrCodeNo, []byte("because"))
		fr.WritePriority(5, x.PriorityParam{StreamDep: 7})
		fr.WritePriorityUpdate(5, "u=1, i")
		fr.WriteRawFrame(0xa, 0xff, 9, []byte("unknown"))
		fr.WriteRawFrame(0x77, 0, 0, nil)
	})
	for _, last := range []func(*x.Framer){
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameData, x.FlagDataPadded, 1, nil) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameData, x.FlagDataPadded, 1, []byte{1}) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameHeaders, 0x28, 1, []byte{1, 0, 0, 0, 1, 9}) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameHeaders, 0x20, 1, []byte{1, 0, 0, 0}) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FramePushPromise, 4, 1, []byte{0, 0, 0, 2}) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameContinuation, 4, 1, nil) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FramePing, 0, 0, make([]byte, 9)) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FrameSettings, 1, 0, make([]byte, 6)) },
		func(fr *x.Framer) { fr.WriteRawFrame(0x77, 0, 0, make([]byte, FrameSize+1)) },
		func(fr *x.Framer) { fr.WriteRawFrame(x.FramePriorityUpdate, 0, 0, make([]byte, 100)) },
	} {
		seed(func(fr *x.Framer) { fr.WriteSettings(); last(fr) })
	}
	f.Fuzz(func(t *testing.T, b, split []byte) {
		got, _, err := read(b, split)
		whole, _, wholeErr := read(b, nil)
		if fmt.Sprint(got.lines, err) != fmt.Sprint(whole.lines, wholeErr) {
			t.Fatalf("in pieces %v %v\nas a whole %v %v", got.lines, err, whole.lines, wholeErr)
		}
		// The last frame is made whole: behind it is DATA of no stream, which is a fault.
		b = append(bytes.Clone(b), make([]byte, FrameSize+2*HeaderSize)...)
		got, _, err = read(b, split)
		var broken *ConnError
		if !errors.As(err, &broken) {
			t.Fatalf("it ends with %v", err)
		}
		if err == ErrFirstFrame {
			if len(got.lines) > 0 || b[0] == 0 && b[3] == 4 && b[4]&1 == 0 {
				t.Fatalf("the first frame %x is refused behind %v", b[:HeaderSize], got.lines)
			}
			return
		}
		// The frames are those of the library, up to the one with a fault: that has no end
		// here, and nothing at all there.
		want, wantErr := expected(b)
		n := len(want.lines)
		if len(got.lines) < n || fmt.Sprint(got.lines[:n]) != fmt.Sprint(want.lines) {
			t.Fatalf("read %v %v\nwant %v %v", got.lines, err, want.lines, wantErr)
		}
		// Windows that are opened by nothing are left to who knows the streams.
		rest := got.lines[n:]
		if slices.Contains(rest, "end") && (len(rest) < 2 || !strings.HasPrefix(rest[1], "window ") || !strings.HasSuffix(rest[1], " 0")) {
			t.Fatalf("%v is taken, where the library says %v", rest, wantErr)
		}
	})
}

// TestFrameFaults: what is wrong with a frame by itself is refused with its code.
func TestFrameFaults(t *testing.T) {
	frame := func(t Type, f Flags, stream uint32, payload ...byte) []byte {
		return append(AppendHeader(nil, len(payload), t, f, stream), payload...)
	}
	for name, c := range map[string]struct {
		frames []byte
		code   Code
	}{
		"DATA of no stream":           {frame(Data, 0, 0), ProtocolError},
		"HEADERS of no stream":        {frame(Headers, 0, 0), ProtocolError},
		"PRIORITY of no stream":       {frame(Priority, 0, 0, 0, 0, 0, 0, 0), ProtocolError},
		"short PRIORITY":              {frame(Priority, 0, 1, 0, 0, 0, 0), FrameSizeError},
		"RST_STREAM of no stream":     {frame(RSTStream, 0, 0, 0, 0, 0, 0), ProtocolError},
		"long RST_STREAM":             {frame(RSTStream, 0, 1, 0, 0, 0, 0, 0), FrameSizeError},
		"SETTINGS of a stream":        {frame(SettingsFrame, 0, 1), ProtocolError},
		"SETTINGS of 5 bytes":         {frame(SettingsFrame, 0, 0, 0, 0, 0, 0, 0), FrameSizeError},
		"SETTINGS that acknowledges":  {frame(SettingsFrame, FlagAck, 0, 0, 0, 0, 0, 0, 0), FrameSizeError},
		"push":                        {frame(PushPromise, FlagEndHeaders, 1, 0, 0, 0, 2), ProtocolError},
		"PING of a stream":            {frame(Ping, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), ProtocolError},
		"short PING":                  {frame(Ping, 0, 0, 0), FrameSizeError},
		"GOAWAY of a stream":          {frame(GoAway, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0), ProtocolError},
		"short GOAWAY":                {frame(GoAway, 0, 0, 0, 0, 0, 0), FrameSizeError},
		"empty WINDOW_UPDATE":         {frame(WindowUpdate, 0, 0), FrameSizeError},
		"CONTINUATION of nothing":     {frame(Continuation, 0, 1), ProtocolError},
		"CONTINUATION behind the end": {append(frame(Headers, FlagEndHeaders, 1), frame(Continuation, 0, 1)...), ProtocolError},
		"CONTINUATION of another":     {append(frame(Headers, 0, 1), frame(Continuation, 0, 3)...), ProtocolError},
		"a frame within a block":      {append(frame(Headers, 0, 1), frame(0x77, 0, 1)...), ProtocolError},
		"padding, and no length":      {frame(Data, FlagPadded, 1), FrameSizeError},
		"more padding than DATA":      {frame(Data, FlagPadded, 1, 2, 0), ProtocolError},
		"more padding than HEADERS":   {frame(Headers, FlagPadded|FlagPriority, 1, 1, 0, 0, 0, 0, 0), ProtocolError},
		"half a priority":             {frame(Headers, FlagPriority, 1, 1, 0), FrameSizeError},
		"PRIORITY_UPDATE of a stream": {frame(PriorityUpdate, 0, 1, 0, 0, 0, 1), ProtocolError},
		"PRIORITY_UPDATE for none":    {frame(PriorityUpdate, 0, 0, 0, 0, 0, 0), ProtocolError},
		"a setting out of its range":  {frame(SettingsFrame, 0, 0, 0, 4, 0xff, 0, 0, 0), FlowControlError},
		"a long frame":                {AppendHeader(nil, FrameSize+1, 0x77, 0, 1), FrameSizeError},
	} {
		t.Run(name, func(t *testing.T) {
			b := append(AppendSettings(nil), c.frames...)
			_, _, err := read(b, []byte{0})
			var broken *ConnError
			if !errors.As(err, &broken) || broken.Code != c.code {
				t.Errorf("%v, want %v", err, c.code)
			}
		})
	}
	for _, first := range []string{"HTTP/1.1 400", "\x15\x03\x01\x00\x02\x02\x28", "\x00\x00\x00\x06", "\x00\x00\x00\x04\x01"} {
		if _, r, err := read([]byte(first), []byte{0}); err != ErrFirstFrame || !bytes.HasPrefix([]byte(first), r.Seen()) {
			t.Errorf("%q: %v, seen %q", first, err, r.Seen())
		}
	}
}

// TestFrameReaderAllocatesNothing takes one of each sort of frame.
func TestFrameReaderAllocatesNothing(t *testing.T) {
	b := AppendBlock(AppendSettings(nil, Setting{InitialWindowSize, 1}), make([]byte, 100), 0, 1, 60)
	b = AppendPing(AppendWindowUpdate(AppendRSTStream(b, 1, Cancel), 0, 7), 0, [8]byte{})
	b = append(AppendHeader(b, 5, Data, FlagPadded, 3), 2, 1, 1, 0, 0)
	r, to := new(FrameReader), nobody{}
	if n := testing.AllocsPerRun(100, func() {
		if err := r.Take(b, to); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// nobody takes all events.
type nobody struct{}

func (nobody) Begin(*Frame) error                { return nil }
func (nobody) Data(*Frame, []byte) error         { return nil }
func (nobody) Fragment(*Frame, []byte) error     { return nil }
func (nobody) Setting(Setting) error             { return nil }
func (nobody) Ping(*Frame, [8]byte) error        { return nil }
func (nobody) Reset(uint32, Code) error          { return nil }
func (nobody) Window(uint32, uint32) error       { return nil }
func (nobody) GoAway(uint32, Code) error         { return nil }
func (nobody) Reprioritize(uint32, []byte) error { return nil }
func (nobody) End(*Frame) error                  { return nil }
