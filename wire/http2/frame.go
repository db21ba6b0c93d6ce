package http2

import "encoding/binary"

// Preface is the start of a client's connection (RFC 9113 section 3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Sizes in bytes: a frame's header, and the largest payload that every peer accepts (RFC
// 9113 sections 4.1 and 4.2).
const (
	HeaderSize = 9
	FrameSize  = 16384
)

// Windows (RFC 9113 section 6.9): the initial and the largest size.
const (
	InitialWindow = 65535
	MaxWindow     = 1<<31 - 1
)

// MaxStream is the highest stream identifier.
const MaxStream = 1<<31 - 1

// Type is a frame's type.
type Type uint8

// The types (RFC 9113 section 6, RFC 9218 section 7).
const (
	Data           Type = 0x0
	Headers        Type = 0x1
	Priority       Type = 0x2
	RSTStream      Type = 0x3
	SettingsFrame  Type = 0x4
	PushPromise    Type = 0x5
	Ping           Type = 0x6
	GoAway         Type = 0x7
	WindowUpdate   Type = 0x8
	Continuation   Type = 0x9
	PriorityUpdate Type = 0x10
)

// Flags of a frame. What a bit means depends on the type.
type Flags uint8

// The flags.
const (
	FlagAck        Flags = 0x1 // of SETTINGS and PING
	FlagEndStream  Flags = 0x1 // of DATA and HEADERS
	FlagEndHeaders Flags = 0x4
	FlagPadded     Flags = 0x8
	FlagPriority   Flags = 0x20
)

// Header is the header of a frame.
type Header struct {
	Length int // length of the payload in bytes
	Type   Type
	Flags  Flags
	Stream uint32
}

// Has reports whether a flag is set.
func (h *Header) Has(f Flags) bool { return h.Flags&f != 0 }

// ParseHeader parses a header from the first HeaderSize bytes of b. It ignores the
// reserved bit.
func ParseHeader(b []byte) Header {
	_ = b[HeaderSize-1]
	return Header{
		Length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), Type: Type(b[3]), Flags: Flags(b[4]),
		Stream: binary.BigEndian.Uint32(b[5:]) & MaxStream,
	}
}

// AppendHeader appends a frame's header.
func AppendHeader(dst []byte, length int, t Type, f Flags, stream uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(t), byte(f),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// AppendRSTStream appends a complete RST_STREAM.
func AppendRSTStream(dst []byte, stream uint32, c Code) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(dst, 4, RSTStream, 0, stream), uint32(c))
}

// AppendWindowUpdate appends a complete WINDOW_UPDATE; stream 0 is the connection.
func AppendWindowUpdate(dst []byte, stream, increment uint32) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(dst, 4, WindowUpdate, 0, stream), increment)
}

// AppendPing appends a complete PING.
func AppendPing(dst []byte, f Flags, data [8]byte) []byte {
	return append(AppendHeader(dst, 8, Ping, f, 0), data[:]...)
}

// AppendGoAway appends a complete GOAWAY. Detail is for people.
func AppendGoAway(dst []byte, last uint32, c Code, detail string) []byte {
	dst = AppendHeader(dst, 8+len(detail), GoAway, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, last)
	dst = binary.BigEndian.AppendUint32(dst, uint32(c))
	return append(dst, detail...)
}

// AppendBlock appends a header block as HEADERS and as many CONTINUATIONs as the frame
// size requires.
func AppendBlock(dst, block []byte, f Flags, stream uint32, frameSize int) []byte {
	t := Headers
	for {
		n := min(len(block), frameSize)
		if n == len(block) {
			f |= FlagEndHeaders
		}
		dst = append(AppendHeader(dst, n, t, f, stream), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		t, f = Continuation, 0
	}
}
