package http2

import (
	"time"

	"serai/wire/http2"
)

// noise counts frames that bring nothing: SETTINGS, PING, WINDOW_UPDATE, empty ones,
// those of streams that are over. There is a use for some of each; who sends
// nothing else makes us work for nobody.
type noise struct {
	since  time.Time
	frames int
}

const (
	noiseTime = 10 * time.Second
	noiseMost = 10_000 // in that time, which is a thousand a second
	// mostAnswers bounds, in bytes, what an instance that reads nothing can have us keep
	// for it: answers to its frames, windows that it uses without having been told of them,
	// streams that are reset. There is as much again that is being written.
	mostAnswers = 256 << 10
)

var errNoise = &http2.ConnError{Code: http2.EnhanceYourCalm, Detail: "it sends too many frames that bring nothing"}

// noisy counts a frame that brings nothing. c.mu is held.
func (c *conn) noisy() error {
	if c.heard.Sub(c.noise.since) > noiseTime {
		c.noise = noise{since: c.heard}
	}
	if c.noise.frames++; c.noise.frames > noiseMost {
		return errNoise
	}
	return nil
}

// useful notes that so many bytes of bodies are sent. Servers give them back in windows
// of the stream and of the connection, some for every few kilobytes. c.mu is held.
func (c *conn) useful(n int) {
	c.noise.frames = max(0, c.noise.frames-2-n>>9)
}
