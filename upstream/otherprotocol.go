package upstream

// OtherProtocolError says that an instance answers in another protocol than the scheme
// of its route asks for.
type OtherProtocolError struct {
	// Speaks is the protocol, and Scheme what the route should say.
	Speaks, Scheme string
	// Err is why the answer was refused.
	Err error
}

// Advice says what to do, for people who may not know the address.
func (e *OtherProtocolError) Advice() string {
	return "the instance speaks " + e.Speaks + ": does its route need scheme=" + e.Scheme + "?"
}

func (e *OtherProtocolError) Error() string { return e.Err.Error() + "; " + e.Advice() }

// Unwrap returns why the answer was refused.
func (e *OtherProtocolError) Unwrap() error { return e.Err }

// OtherProtocol returns err, which is why an answer that begins with first was refused as
// HTTP/1, as an OtherProtocolError if first shows what the instance speaks instead.
func OtherProtocol(first []byte, s Scheme, err error) error {
	switch {
	case beginsTLS(first) && !s.Secure():
		return &OtherProtocolError{Speaks: "TLS", Scheme: "https", Err: err}
	case beginsHTTP2(first) && s.Secure():
		return &OtherProtocolError{Speaks: "HTTP/2", Scheme: "h2", Err: err}
	case beginsHTTP2(first):
		return &OtherProtocolError{Speaks: "HTTP/2", Scheme: "h2c", Err: err}
	}
	return err
}

// beginsTLS reports whether b begins with the header of an alert or a handshake record
// (RFC 8446 section 5.1).
func beginsTLS(b []byte) bool {
	return len(b) >= 5 && (b[0] == 21 || b[0] == 22) && b[1] == 3 && b[2] <= 4
}

// beginsHTTP2 reports whether b begins with the SETTINGS that a server sends first (RFC
// 9113 section 3.4).
func beginsHTTP2(b []byte) bool {
	const header, settings = 9, 4
	return len(b) >= header && b[0] == 0 && b[2]%6 == 0 && b[1] == 0 && b[3] == settings && b[4] == 0 && string(b[5:header]) == "\x00\x00\x00\x00"
}
