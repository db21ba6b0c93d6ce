package http2

import "serai/wire/http2"

// settings are the instance's settings.
type settings struct {
	maxStreams uint32
	// window is the initial window of each new stream.
	window int64
	// tunnels says that the instance supports extended CONNECT.
	tunnels bool
	// tableSize says that the instance has changed the size of its table: the next block
	// must begin with NoTable (RFC 7541 section 4.2).
	tableSize bool
}

func firstSettings() settings {
	return settings{maxStreams: 1<<32 - 1, window: http2.InitialWindow, tableSize: true}
}

// appendSettings appends serai's settings: no push, tables of the default size, and a
// small initial window for each stream.
func appendSettings(dst []byte, maxHead int) []byte {
	return http2.AppendSettings(dst,
		http2.Setting{ID: http2.EnablePush, Value: 0},
		http2.Setting{ID: http2.InitialWindowSize, Value: smallWindow},
		http2.Setting{ID: http2.MaxHeaderListSize, Value: uint32(maxHead)})
}

// set applies one of the instance's settings. c.mu is held.
func (c *conn) set(s http2.Setting) error {
	p := &c.peer
	switch s.ID {
	case http2.HeaderTableSize:
		p.tableSize = true
	case http2.EnablePush:
		if s.Value != 0 {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "it wants to be pushed to"}
		}
	case http2.MaxConcurrentStreams:
		p.maxStreams = s.Value
	case http2.InitialWindowSize:
		change := int64(s.Value) - p.window
		p.window = int64(s.Value)
		for _, s := range c.streams {
			if s.sendWindow += change; s.sendWindow > http2.MaxWindow {
				return &http2.ConnError{Code: http2.FlowControlError, Detail: "a window is larger than windows may be"}
			}
			s.wakeUpload()
		}
	case http2.EnableConnect:
		if p.tunnels && s.Value == 0 {
			return &http2.ConnError{Code: http2.ProtocolError, Detail: "its SETTINGS_ENABLE_CONNECT_PROTOCOL is not one"}
		}
		p.tunnels = s.Value == 1
	}
	return nil
}
