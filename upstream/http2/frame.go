package http2

import (
	"encoding/binary"
	"strconv"
)

// preface is what a client begins a connection with (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	frameHead = 9        // bytes in front of each frame
	maxFrame  = 16 << 10 // bytes of the longest payload that either side sends
	maxWindow = 1<<31 - 1
	maxStream = 1<<31 - 1
	// firstWindow is that of a connection, and of each stream unless the settings
	// say otherwise (RFC 9113 section 6.9.2).
	firstWindow = 1<<16 - 1
)

// frameKind is the type of a frame (RFC 9113 section 6).
type frameKind uint8

const (
	frameData frameKind = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

const (
	flagAck        = 0x1 // of SETTINGS and PING
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// frame is the head of one.
type frame struct {
	length int
	kind   frameKind
	flags  uint8
	stream uint32
}

func (f *frame) has(flag uint8) bool { return f.flags&flag != 0 }

func parseFrame(b *[frameHead]byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: frameKind(b[3]), flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & maxStream,
	}
}

func appendFrame(dst []byte, f frame) []byte {
	dst = append(dst, byte(f.length>>16), byte(f.length>>8), byte(f.length), byte(f.kind), f.flags)
	return binary.BigEndian.AppendUint32(dst, f.stream)
}

// appendNumber appends a frame whose payload is one number of 32 bits: RST_STREAM
// with its code, WINDOW_UPDATE with its increment.
func appendNumber(dst []byte, kind frameKind, stream, n uint32) []byte {
	dst = appendFrame(dst, frame{length: 4, kind: kind, stream: stream})
	return binary.BigEndian.AppendUint32(dst, n)
}

func appendPing(dst []byte, flags uint8, data []byte) []byte {
	return append(appendFrame(dst, frame{length: 8, kind: framePing, flags: flags}), data...)
}

func appendGoAway(dst []byte, code errCode) []byte {
	dst = appendFrame(dst, frame{length: 8, kind: frameGoAway})
	dst = binary.BigEndian.AppendUint32(dst, 0) // the instance opens no streams
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

// appendBlock appends a block of fields as one HEADERS frame and as many
// CONTINUATION frames as it needs.
func appendBlock(dst, block []byte, stream uint32, flags uint8) []byte {
	kind := frameHeaders
	for {
		n := min(len(block), maxFrame)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		dst = append(appendFrame(dst, frame{n, kind, flags, stream}), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		kind, flags = frameContinuation, 0
	}
}

// errCode is why a stream or a connection ends (RFC 9113 section 7).
type errCode uint32

const (
	codeNo errCode = iota
	codeProtocol
	codeInternal
	codeFlowControl
	codeSettingsTimeout
	codeStreamClosed
	codeFrameSize
	codeRefused
	codeCancel
	codeCompression
	codeConnect
	codeCalm
	codeSecurity
	codeHTTP1
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns its name in the RFC.
func (c errCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "error " + strconv.FormatUint(uint64(c), 10)
}
