package http2

import "encoding/binary"

// Frame is a frame that is being read.
type Frame struct {
	Header
	Content int    // bytes of the payload that are neither padding nor priority
	Parent  uint32 // the stream that this one depends on, if the frame has a priority
}

// Events receives the contents of frames, in order. Its arguments are valid only during
// the call. Take returns its errors.
type Events interface {
	// Begin is called first for each valid frame.
	Begin(f *Frame) error
	// Data gets bytes of a DATA frame without padding, Fragment bytes of HEADERS or
	// CONTINUATION.
	Data(f *Frame, p []byte) error
	Fragment(f *Frame, p []byte) error
	// Setting is called for each entry of SETTINGS, the next ones once for each frame.
	Setting(s Setting) error
	Ping(f *Frame, data [8]byte) error
	Reset(stream uint32, c Code) error
	Window(stream, more uint32) error
	GoAway(last uint32, c Code) error
	// Reprioritize gets the Priority Field Value of PRIORITY_UPDATE (RFC 9218 section
	// 7.1), unless it is too long to be useful.
	Reprioritize(stream uint32, value []byte) error
	// End is called at the end of a frame.
	End(f *Frame) error
}

// FrameReader parses the frames of a connection as their bytes come, so that no frame
// needs a buffer of its own. It refuses frames that are invalid whatever the state of
// their stream. The zero FrameReader is ready for the first frame, which must be
// SETTINGS.
type FrameReader struct {
	frame  Frame
	begun  bool   // the first frame's header has come
	within bool   // the payload is being read
	left   int    // bytes of the payload that are still to come
	pad    int    // bytes of padding at its end
	block  uint32 // stream whose block is incomplete, 0 for none

	first [maxFirst]byte // the header, or the start of the payload, which is all of most payloads
	have  int            // bytes in first
	want  int            // how many bytes of the payload first must have
}

// maxFirst is how much of a payload is kept until it is complete. Only a
// PRIORITY_UPDATE is longer than the 8 bytes of a PING.
const maxFirst = 64

// ErrFirstFrame means that a peer's first frame is not SETTINGS (RFC 9113 section 3.4).
var ErrFirstFrame error = &ConnError{ProtocolError, "the first frame is not SETTINGS"}

// Take parses bytes that have come, and passes their contents to to. An error ends the
// connection, and the reader cannot be used any more.
func (r *FrameReader) Take(b []byte, to Events) error {
	for len(b) > 0 {
		var n int
		var err error
		if r.within {
			n, err = r.payload(b[:min(len(b), r.left)], to)
		} else {
			n, err = r.header(b, to)
		}
		if err != nil {
			return err
		}
		b = b[n:]
		if r.within && r.left == 0 {
			r.within, r.have = false, 0
			if err := r.end(to); err != nil {
				return err
			}
		}
	}
	return nil
}

// Midway reports whether an incomplete header block, or an incomplete frame other than
// DATA, has come.
func (r *FrameReader) Midway() bool {
	return r.block > 0 || r.have > 0 && !r.within || r.within && r.frame.Type != Data
}

// Seen returns what has come of the first frame's header.
func (r *FrameReader) Seen() []byte { return r.first[:r.have] }

// header parses bytes of a frame's header, and returns how many.
func (r *FrameReader) header(b []byte, to Events) (n int, err error) {
	whole := b
	if n = HeaderSize; r.have > 0 || len(b) < HeaderSize || !r.begun {
		n = copy(r.first[r.have:HeaderSize], b)
		r.have += n
		if !r.begun && !maySettle(r.first[:r.have]) {
			return n, ErrFirstFrame
		}
		if r.have < HeaderSize {
			return n, nil
		}
		whole = r.first[:]
	}
	r.begun, r.within, r.have = true, true, 0
	f := &r.frame
	*f = Frame{Header: ParseHeader(whole)}
	f.Content, r.left, r.pad = f.Length, f.Length, 0
	if err := r.check(); err != nil {
		return n, err
	}
	if r.want > 0 && (f.Type == Data || f.Type == Headers || f.Type == Priority) {
		return n, nil // lead calls Begin when the start of the payload is here
	}
	return n, to.Begin(f)
}

// maySettle reports whether bytes may be the start of a first SETTINGS. Other protocols
// are recognized before a complete header has come: a TLS alert is shorter.
func maySettle(b []byte) bool {
	return b[0] == 0 && (len(b) < 4 || Type(b[3]) == SettingsFrame) && (len(b) < 5 || Flags(b[4])&FlagAck == 0)
}

// rules has for each type the smallest and the largest payload, and whether the frame
// may be for a stream or for the connection.
var rules = [...]struct {
	least, most      int
	ofStream, ofConn bool
}{
	Data:           {0, FrameSize, true, false},
	Headers:        {0, FrameSize, true, false},
	Priority:       {5, 5, true, false},
	RSTStream:      {4, 4, true, false},
	SettingsFrame:  {0, FrameSize, false, true},
	PushPromise:    {0, FrameSize, true, true}, // check refuses it
	Ping:           {8, 8, false, true},
	GoAway:         {8, FrameSize, false, true},
	WindowUpdate:   {4, 4, true, true},
	Continuation:   {0, FrameSize, true, false},
	PriorityUpdate: {4, FrameSize, false, true},
}

// check checks a frame's header, and sets how many bytes first must have.
func (r *FrameReader) check() error {
	f := &r.frame
	switch {
	case f.Length > FrameSize:
		return &ConnError{FrameSizeError, "a frame is larger than allowed"}
	case r.block > 0 && (f.Type != Continuation || f.Stream != r.block):
		return &ConnError{ProtocolError, "a block of fields is interrupted by another frame"}
	case r.block == 0 && f.Type == Continuation:
		return &ConnError{ProtocolError, "a CONTINUATION continues nothing"}
	case f.Type == PushPromise:
		return &ConnError{ProtocolError, "nobody may push here"}
	}
	r.want = 0
	if int(f.Type) >= len(rules) || rules[f.Type].most == 0 {
		return nil // an unknown type
	}
	rule := &rules[f.Type]
	switch {
	case f.Stream == 0 && !rule.ofConn, f.Stream != 0 && !rule.ofStream:
		return &ConnError{ProtocolError, "a frame is for a stream that it cannot be for"}
	case f.Length < rule.least, f.Length > rule.most:
		return errFrameLength
	}
	switch f.Type {
	case Data, Headers:
		if f.Has(FlagPadded) {
			r.want++
		}
		if f.Type == Headers && f.Has(FlagPriority) {
			r.want += 5
		}
		if f.Length < r.want {
			return errFrameLength
		}
	case SettingsFrame:
		if f.Length%SettingSize != 0 || f.Length > 0 && f.Has(FlagAck) {
			return errFrameLength
		}
		r.want = min(f.Length, SettingSize)
	case PriorityUpdate:
		r.want = min(f.Length, maxFirst)
	default:
		r.want = rule.least
	}
	return nil
}

var errFrameLength error = &ConnError{FrameSizeError, "a frame has not the length of its type"}

// payload parses bytes of the payload, and returns how many.
func (r *FrameReader) payload(p []byte, to Events) (n int, err error) {
	if r.have < r.want {
		n = copy(r.first[r.have:r.want], p)
		r.left -= n
		if r.have += n; r.have < r.want {
			return n, nil
		}
		return n, r.prefix(to)
	}
	n = len(p)
	r.left -= n
	p = p[:n-min(n, max(0, r.pad-r.left))]
	switch f := &r.frame; {
	case len(p) == 0:
	case f.Type == Data:
		err = to.Data(f, p)
	case f.Type == Headers || f.Type == Continuation:
		err = to.Fragment(f, p)
	}
	return n, err
}

// prefix handles the start of a payload, which is complete.
func (r *FrameReader) prefix(to Events) error {
	f, b := &r.frame, r.first[:]
	word := binary.BigEndian.Uint32
	switch f.Type {
	case Data, Headers:
		return r.lead(to)
	case Priority:
		f.Parent = word(b) & MaxStream
		return to.Begin(f)
	case SettingsFrame:
		r.have = 0 // for the next setting
		s, err := ParseSetting(b)
		if err != nil {
			return err
		}
		return to.Setting(s)
	case Ping:
		return to.Ping(f, [8]byte(b))
	case RSTStream:
		return to.Reset(f.Stream, Code(word(b)))
	case WindowUpdate:
		return to.Window(f.Stream, word(b)&MaxWindow)
	case GoAway:
		return to.GoAway(word(b)&MaxStream, Code(word(b[4:])))
	case PriorityUpdate:
		stream := word(b) & MaxStream
		if stream == 0 {
			return &ConnError{ProtocolError, "a PRIORITY_UPDATE is for no stream"}
		}
		if r.want == f.Length {
			return to.Reprioritize(stream, b[4:r.want])
		}
	}
	return nil
}

// lead handles what DATA and HEADERS may begin with: the length of the padding, and the
// priority.
func (r *FrameReader) lead(to Events) error {
	f, b := &r.frame, r.first[:r.want]
	f.Content -= r.want
	if f.Has(FlagPadded) {
		r.pad, b = int(b[0]), b[1:]
		if f.Content -= r.pad; f.Content < 0 {
			return &ConnError{ProtocolError, "a frame's padding is longer than the frame"}
		}
	}
	if len(b) > 0 {
		f.Parent = binary.BigEndian.Uint32(b) & MaxStream
	}
	return to.Begin(f)
}

// end ends a frame.
func (r *FrameReader) end(to Events) error {
	f := &r.frame
	if f.Type == Headers || f.Type == Continuation {
		if r.block = f.Stream; f.Has(FlagEndHeaders) {
			r.block = 0
		}
	}
	return to.End(f)
}
