package http2

import (
	"time"

	"serai/wire/http2"
)

// Cause is why the engine ended a connection, or refused a stream, that had gone
// beyond a limit.
type Cause uint8

// The causes.
const (
	CauseResets   Cause = iota // too many streams were reset, or malformed
	CauseControls              // too many frames that carry nothing
	CauseHead                  // a head without end, or one that took too long
	CauseSlow                  // the client takes nothing of what it is sent
	CauseProtocol              // a fault of the protocol
	CauseMemory                // no memory for the connection
	CauseStreams               // a stream beyond the limit; the connection goes on
	CauseStalled               // a stream whose answer was not taken; the connection goes on
	causes
)

var causeWords = [causes]string{"resets", "control-frames", "head", "slow", "protocol", "memory", "streams", "stalled"}

// String returns its word in /metrics.
func (c Cause) String() string { return causeWords[c] }

// calm is a fault that has a cause of its own.
type calm struct {
	http2.ConnError
	cause Cause
}

func errCalm(cause Cause, detail string) error {
	return &calm{http2.ConnError{Code: http2.EnhanceYourCalm, Detail: detail}, cause}
}

func errProtocol(detail string) error {
	return &http2.ConnError{Code: http2.ProtocolError, Detail: detail}
}

// control counts n frames that carry nothing.
func (c *conn) control(n int) error {
	if !c.controls.take(c.now, n, c.engine.options.Controls) {
		return errCalm(CauseControls, "too many frames that carry nothing")
	}
	return nil
}

// countReset counts a stream that the client has had ended.
func (c *conn) countReset() error {
	if !c.resets.take(c.now, 1, c.engine.options.Resets) {
		return errCalm(CauseResets, "too many streams were reset")
	}
	return nil
}

// bucket holds a rate on average over ten seconds.
type bucket struct {
	left float64
	last time.Time
}

const bucketSeconds = 10

// take takes n, at a rate a second, and reports whether they were there.
func (b *bucket) take(now time.Time, n, rate int) bool {
	most := float64(rate * bucketSeconds)
	if b.last.IsZero() {
		b.left = most
	} else {
		b.left = min(most, b.left+now.Sub(b.last).Seconds()*float64(rate))
	}
	b.last = now
	b.left -= float64(n)
	return b.left >= 0
}
