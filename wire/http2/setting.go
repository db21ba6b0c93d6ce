package http2

import "encoding/binary"

// SettingID identifies a setting (RFC 9113 section 6.5.2).
type SettingID uint16

// The settings.
const (
	HeaderTableSize      SettingID = 0x1
	EnablePush           SettingID = 0x2
	MaxConcurrentStreams SettingID = 0x3
	InitialWindowSize    SettingID = 0x4
	MaxFrameSize         SettingID = 0x5
	MaxHeaderListSize    SettingID = 0x6
	EnableConnect        SettingID = 0x8 // RFC 8441
	NoRFC7540Priorities  SettingID = 0x9 // RFC 9218
)

// SettingSize is the size of one setting in a frame, in bytes.
const SettingSize = 6

// Setting is one entry of a SETTINGS frame.
type Setting struct {
	ID    SettingID
	Value uint32
}

// AppendSettings appends a complete SETTINGS frame.
func AppendSettings(dst []byte, settings ...Setting) []byte {
	dst = AppendHeader(dst, len(settings)*SettingSize, SettingsFrame, 0, 0)
	for _, s := range settings {
		dst = binary.BigEndian.AppendUint16(dst, uint16(s.ID))
		dst = binary.BigEndian.AppendUint32(dst, s.Value)
	}
	return dst
}

// ParseSetting parses a setting from the first SettingSize bytes of b, and refuses
// values that no peer may send.
func ParseSetting(b []byte) (s Setting, err error) {
	s = Setting{SettingID(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint32(b[2:])}
	switch {
	case s.ID == EnablePush && s.Value > 1:
		return s, &ConnError{ProtocolError, "ENABLE_PUSH is neither 0 nor 1"}
	case s.ID == InitialWindowSize && s.Value > MaxWindow:
		return s, &ConnError{FlowControlError, "INITIAL_WINDOW_SIZE is too large"}
	case s.ID == MaxFrameSize && (s.Value < FrameSize || s.Value > 1<<24-1):
		return s, &ConnError{ProtocolError, "MAX_FRAME_SIZE is out of its range"}
	case s.ID == EnableConnect && s.Value > 1:
		return s, &ConnError{ProtocolError, "ENABLE_CONNECT_PROTOCOL is neither 0 nor 1"}
	case s.ID == NoRFC7540Priorities && s.Value > 1: // RFC 9218 section 2.1
		return s, &ConnError{ProtocolError, "NO_RFC7540_PRIORITIES is neither 0 nor 1"}
	}
	return s, nil
}
