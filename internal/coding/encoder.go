package coding

import (
	"serai/internal/memory"
	"serai/wire/socket"
)

// Encoder codes one body. One goroutine uses it. Once it is Ended, it is another body's.
type Encoder struct {
	from   *Encoders
	kind   kind
	client *memory.Client // whose memory it has
	to     func(p []byte) error
	writer writer
	out    []byte // coded, and not sent yet
	err    error  // of to
	held   bool   // not all that was written has come out
	within bool   // the library has been called, and has not returned
	in     uint64
	sent   uint64
}

// bufferSize is that of what is coded, and not sent yet, in bytes.
func (k kind) bufferSize() int {
	if k == lightGzip {
		return lightMost + 1<<10
	}
	return socket.SmallBuffer
}

// Begin says where what is coded goes: to, whose argument is only valid until it returns.
func (e *Encoder) Begin(to func(p []byte) error) { e.to = to }

// Write codes p. It may hold back what comes out.
func (e *Encoder) Write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	e.held = true
	e.in += uint64(len(p))
	for len(p) > 0 {
		// What the library takes at once is no more than it can code without a write in
		// between: see light.
		n := min(len(p), lightBlock-lightKept)
		e.within = true
		_, err := e.writer.Write(p[:n])
		e.within = false
		if err == nil {
			err = e.settle()
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// Flush sends all that was written so far.
func (e *Encoder) Flush() error {
	if !e.held {
		return nil
	}
	e.held = false
	e.within = true
	err := e.writer.Flush()
	e.within = false
	if err != nil {
		return err
	}
	return e.send()
}

// Finish sends the rest. A body that is not finished cannot be decoded to its end.
func (e *Encoder) Finish() error {
	e.within = true
	err := e.writer.Close()
	e.within = false
	if err != nil {
		return err
	}
	return e.send()
}

// End gives back what the Encoder holds. It is called once, whatever has happened.
func (e *Encoder) End() {
	e.from.end(e)
}

// output is an Encoder as the library writes to it.
type output Encoder

// Write takes what the library has coded.
func (o *output) Write(p []byte) (int, error) {
	e := (*Encoder)(o)
	for n := len(p); ; {
		took := copy(e.out[len(e.out):cap(e.out)], p)
		e.out, p = e.out[:len(e.out)+took], p[took:]
		if len(p) == 0 {
			return n, nil
		}
		if err := e.send(); err != nil {
			return n - len(p), err
		}
	}
}

// settle sends what has come out where the next piece may not fit.
func (e *Encoder) settle() error {
	if e.kind == lightGzip && cap(e.out)-len(e.out) < lightMost {
		return e.send()
	}
	return nil
}

// send sends what has come out.
func (e *Encoder) send() error {
	if e.err != nil || len(e.out) == 0 {
		return e.err
	}
	e.err = e.to(e.out)
	e.sent += uint64(len(e.out))
	e.out = e.out[:0]
	return e.err
}
