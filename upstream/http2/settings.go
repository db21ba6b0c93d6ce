package http2

import "encoding/binary"

// The settings that matter here (RFC 9113 section 6.5.2, RFC 8441 section 3).
const (
	settingTableSize       = 0x1
	settingEnablePush      = 0x2
	settingMaxStreams      = 0x3
	settingInitialWindow   = 0x4
	settingMaxFrame        = 0x5
	settingMaxHeaderList   = 0x6
	settingExtendedConnect = 0x8
)

// settings are those of the instance.
type settings struct {
	maxStreams uint32
	// window is what each new stream may send at first.
	window int64
	// tunnels says that it takes extended CONNECT.
	tunnels bool
	// tableSize is set when it has changed what its decoder keeps: the next
	// block has to say that we keep nothing (RFC 7541 section 4.2).
	tableSize bool
}

func firstSettings() settings {
	return settings{maxStreams: 1<<32 - 1, window: firstWindow, tableSize: true}
}

// appendOurs appends our settings: nothing is pushed, our encoder and decoder need
// no more than the usual table, and each stream begins with a small buffer.
func appendOurs(dst []byte, maxHead int) []byte {
	ours := [...]struct {
		id    uint16
		value uint32
	}{{settingEnablePush, 0}, {settingInitialWindow, smallWindow}, {settingMaxHeaderList, uint32(maxHead)}}
	dst = appendFrame(dst, frame{length: 6 * len(ours), kind: frameSettings})
	for _, s := range ours {
		dst = binary.BigEndian.AppendUint16(dst, s.id)
		dst = binary.BigEndian.AppendUint32(dst, s.value)
	}
	return dst
}

// set takes one of the instance's settings. c.mu is held.
func (c *conn) set(id uint16, value uint32) error {
	p := &c.peer
	switch id {
	case settingTableSize:
		p.tableSize = true
	case settingEnablePush:
		if value != 0 {
			return &connError{codeProtocol, "it wants to be pushed to"}
		}
	case settingMaxStreams:
		p.maxStreams = value
	case settingInitialWindow:
		if value > maxWindow {
			return &connError{codeFlowControl, "its initial window is larger than windows may be"}
		}
		change := int64(value) - p.window
		p.window = int64(value)
		for _, s := range c.streams {
			if s.sendWindow += change; s.sendWindow > maxWindow {
				return &connError{codeFlowControl, "a window is larger than windows may be"}
			}
			s.tellUpload()
		}
	case settingMaxFrame:
		if value < maxFrame || value > 1<<24-1 {
			return &connError{codeProtocol, "its SETTINGS_MAX_FRAME_SIZE is not one"}
		}
	case settingExtendedConnect:
		if value > 1 || p.tunnels && value == 0 {
			return &connError{codeProtocol, "its SETTINGS_ENABLE_CONNECT_PROTOCOL is not one"}
		}
		p.tunnels = value == 1
	}
	return nil
}
