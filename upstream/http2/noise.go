package http2

import (
	"time"

	"serai/wire/http2"
)

// noise counts frames without content: SETTINGS, PING, WINDOW_UPDATE, empty frames, and
// frames of streams that are over. Some of each are useful, but an instance that sends
// nothing else causes work for nothing.
type noise struct {
	since  time.Time
	frames int
}

const (
	noiseTime = 10 * time.Second
	noiseMost = 10_000 // in noiseTime: a thousand a second
	// mostAnswers bounds, in bytes, what serai keeps for an instance that reads nothing:
	// answers to its frames, window updates, resets. As much again is being written.
	mostAnswers = 256 << 10
)

var errNoise = &http2.ConnError{Code: http2.EnhanceYourCalm, Detail: "it sends too many frames that bring nothing"}

// noisy counts a frame without content. c.mu is held.
func (c *conn) noisy() error {
	if c.heard.Sub(c.noise.since) > noiseTime {
		c.noise = noise{since: c.heard}
	}
	if c.noise.frames++; c.noise.frames > noiseMost {
		return errNoise
	}
	return nil
}

// useful records that n bytes of bodies are sent. Servers answer them with window
// updates for the stream and the connection, some for every few kilobytes. c.mu is
// held.
func (c *conn) useful(n int) {
	c.noise.frames = max(0, c.noise.frames-2-n>>9)
}
