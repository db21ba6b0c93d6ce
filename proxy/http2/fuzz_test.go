package http2_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"

	engine "serai/proxy/http2"
)

// FuzzFrames sends any bytes behind the preface. What comes back are frames, the end
// comes once the client has said all, and nothing of it is left.
func FuzzFrames(f *testing.F) {
	k := newStack(f, engine.Options{}, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	var b bytes.Buffer
	p := k.dial()
	seed := func(write func(*http2.Framer)) {
		b.Reset()
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		fr.WriteSettings()
		write(fr)
		f.Add(bytes.Clone(b.Bytes()))
	}
	block := bytes.Clone(p.fields("/", "content-length", "3"))
	seed(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
		fr.WriteDataPadded(1, false, []byte("ab"), make([]byte, 3))
		fr.WritePing(false, [8]byte{1})
		fr.WriteData(1, true, []byte("c"))
	})
	seed(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:5]})
		fr.WriteContinuation(1, true, block[5:])
		fr.WriteWindowUpdate(1, 5)
		fr.WriteRSTStream(1, http2.ErrCodeCancel)
		fr.WriteData(1, true, []byte("late"))
		fr.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	f.Fuzz(func(t *testing.T, frames []byte) {
		c, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Skip(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(long))
		go func() {
			io.WriteString(c, http2.ClientPreface)
			c.Write(frames)
			c.(*net.TCPConn).CloseWrite()
		}()
		fr := http2.NewFramer(nil, c)
		for {
			_, err := fr.ReadFrame()
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Fatal("the connection does not end")
			}
			if err == nil {
				continue
			}
			if _, ok := err.(*net.OpError); err != io.EOF && err != io.ErrUnexpectedEOF && !ok {
				t.Fatalf("what comes back is no frame: %v", err)
			}
			break
		}
		until(t, "the end of all streams", func() bool { return k.engine.Status().Streams == 0 })
	})
}
