package http2

import (
	"time"

	"serai/wire/http2"
)

// Cause is why the engine ended a connection, or refused a stream, because of a limit.
type Cause uint8

// The causes.
const (
	CauseResets   Cause = iota // too many streams were reset or malformed
	CauseControls              // too many frames without content
	CauseHead                  // a head that is too long, or took too long
	CauseSlow                  // the client accepts nothing
	CauseProtocol              // a protocol error
	CauseMemory                // no memory for the connection
	CauseStreams               // a stream beyond the limit; the connection goes on
	CauseStalled               // a stream whose answer was not accepted; the connection goes on
	causes
)

var causeWords = [causes]string{"resets", "control-frames", "head", "slow", "protocol", "memory", "streams", "stalled"}

// String returns the cause's word in /metrics.
func (c Cause) String() string { return causeWords[c] }

// limitError is a connection error with a Cause of its own.
type limitError struct {
	http2.ConnError
	cause Cause
}

func errLimit(cause Cause, detail string) error {
	return &limitError{http2.ConnError{Code: http2.EnhanceYourCalm, Detail: detail}, cause}
}

func errProtocol(detail string) error {
	return &http2.ConnError{Code: http2.ProtocolError, Detail: detail}
}

// control counts n frames without content.
func (c *conn) control(n int) error {
	if !c.controls.take(c.now, n, c.engine.options.Controls) {
		return errLimit(CauseControls, "too many frames that carry nothing")
	}
	return nil
}

// countReset counts a stream that ended because of the client.
func (c *conn) countReset() error {
	if !c.resets.take(c.now, 1, c.engine.options.Resets) {
		return errLimit(CauseResets, "too many streams were reset")
	}
	return nil
}

// bucket limits a rate, on average over ten seconds.
type bucket struct {
	left float64
	last time.Time
}

const bucketSeconds = 10

// take takes n, at a rate per second, and reports whether there was enough.
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
