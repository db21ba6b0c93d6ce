package http1

import (
	"io"
	"time"

	"serai/internal/memory"
	"serai/upstream"
	"serai/wire"
	"serai/wire/socket"
)

// copied is the size up to which a body is copied into the buffer after the head; a
// larger one is written from where it is.
const copied = 2 << 10

// appendFirst appends the part of the body that has arrived to the head in r.Scratch,
// framed as the head says, or returns it when it is long and unframed.
func appendFirst(r *upstream.Request) (body []byte) {
	switch {
	case r.Head.Framing == wire.Chunked:
		r.Scratch = wire.AppendChunk(r.Scratch, r.First)
		if r.Complete {
			r.Scratch = wire.AppendLastChunk(r.Scratch, r.Body.Trailers())
		}
	case len(r.First) > copied:
		return r.First
	default:
		r.Scratch = append(r.Scratch, r.First...)
	}
	return nil
}

// stream sends the rest of the body in a goroutine of its own.
func (c *conn) stream(r *upstream.Request) {
	u := upstream.NewUpload(r.Body)
	c.upload = u
	pipe := c.pipe(r)
	go u.Run(r.Caller, func() error {
		defer pipe.Close()
		return c.copyBody(r, u, pipe)
	}, c.Interrupt)
}

// pipe makes the kernel pipe for the rest of a body, nil if the body is copied.
func (c *conn) pipe(r *upstream.Request) *socket.Pipe {
	if !r.Bounds.Splice || r.Head.Framing != wire.Length || !c.Plain() {
		return nil
	}
	if from, ok := r.Body.(upstream.Spliced); !ok || !from.Plain() {
		return nil
	}
	return socket.NewPipe(r.Head.Size)
}

func (c *conn) copyBody(r *upstream.Request, u *upstream.Upload, pipe *socket.Pipe) error {
	chunked := r.Head.Framing == wire.Chunked
	for {
		var data []byte
		n, err := pull(r.Body, pipe)
		if n == 0 && err == nil {
			data, err = r.Body.Next()
			n = len(data)
		}
		if err != nil && err != io.EOF {
			return err
		}
		u.SetWhole(r.Body.Done())
		now := time.Now()
		u.Progress(now)
		c.WriteWithin(now, r.Bounds.WriteIdle)
		if n > len(data) {
			if pipe.Drain(&c.Conn) != nil {
				return upstream.ErrNoMore
			}
			continue
		}
		var werr error
		if chunked {
			werr = c.writeChunks(data, err == io.EOF, r)
		} else {
			_, werr = c.Write(data)
		}
		if werr != nil {
			return upstream.ErrNoMore
		}
		if err == io.EOF {
			return nil
		}
	}
}

// writeChunks writes data as a chunk, and then the end of the body if last is set. It
// holds a buffer only during the call, since thousands of uploads may have nothing to
// send. Without memory for a large buffer it writes small chunks.
func (c *conn) writeChunks(data []byte, last bool, r *upstream.Request) error {
	// A chunk's data is at most a buffer: what does not fit beside its framing goes
	// into another chunk.
	const frame = 64
	var b []byte
	most := socket.SmallBuffer - frame
	if len(data) > most && r.Memory.Take(memory.Buffers, socket.LargeBuffer) {
		defer r.Memory.Give(memory.Buffers, socket.LargeBuffer)
		b, most = socket.GetLarge()[:0], socket.LargeBuffer-frame
	} else {
		b = socket.GetSmall()[:0]
	}
	defer func() { socket.Put(b) }()
	for len(data) > most {
		b = wire.AppendChunk(b[:0], data[:most])
		if _, err := c.Write(b); err != nil {
			return err
		}
		data = data[most:]
	}
	b = wire.AppendChunk(b[:0], data)
	if last {
		b = wire.AppendLastChunk(b, r.Body.Trailers())
	}
	_, err := c.Write(b)
	return err
}

// pull moves the next bytes of a body into the pipe, if there is one.
func pull(from upstream.RequestBody, pipe *socket.Pipe) (int, error) {
	if pipe == nil {
		return 0, nil
	}
	return from.(upstream.Spliced).Pull(pipe)
}

// stopUpload ends the upload, if it is running, and reports whether the whole body was
// sent. Otherwise the connection cannot be reused.
func (c *conn) stopUpload() (sent bool) {
	u := c.upload
	if u == nil {
		return true
	}
	c.upload = nil
	switch {
	case u.Finished():
	case u.Whole():
		// An instance may answer while the last write has not returned yet. If it does
		// not accept the last bytes, it loses the connection, but the client does not.
		select {
		case <-u.Ended:
		case <-time.After(upstream.LastWrite):
			c.Interrupt()
		}
	default:
		u.Stop()
		c.Close()
		u.Body.Interrupt()
	}
	<-u.Ended
	return u.Err() == nil
}
