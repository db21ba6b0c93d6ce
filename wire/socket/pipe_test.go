package socket

import (
	"bytes"
	"io"
	"testing"

	"serai/wire"
)

func TestPipe(t *testing.T) {
	const size = 5<<20 + 3
	in, source := pair(t)
	out, sink := pair(t)
	p := NewPipe(pipeFrom)
	if p == nil {
		t.Skip("this system has no splice")
	}
	defer p.Close()
	sent := bytes.Repeat([]byte("serai and "), size/10+1)[:size]
	go source.Write(append(sent, "beyond"...))
	came := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(sink)
		came <- b
	}()
	var body wire.Body
	body.Reset(in, wire.Length, size, wire.DefaultLimits())
	if err := in.Fill(); err != nil {
		t.Fatal(err)
	}
	// Bytes that have been read already are left to Next.
	if n, err := p.Pull(&body, in); n != 0 || err != nil {
		t.Fatalf("%d bytes, %v beside what is buffered", n, err)
	}
	for piped, copied := 0, 0; ; {
		n, err := p.Pull(&body, in)
		if n > 0 {
			piped += n
			if err := p.Drain(out); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := body.Next()
		if err == io.EOF {
			if copied > SmallBuffer || piped+copied != size {
				t.Errorf("%d bytes went through the pipe and %d beside it", piped, copied)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		copied += len(data)
		if _, err := out.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	out.Close()
	if got := <-came; !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came out, not the %d that went in", len(got), len(sent))
	}
	if err := in.Fill(); err != nil || !bytes.HasPrefix([]byte("beyond"), in.Buffered()) {
		t.Errorf("what follows the body is %q, %v", in.Buffered(), err)
	}
}

// A body that ends too early is cut, however it is read.
func TestPipeOfACutBody(t *testing.T) {
	in, source := pair(t)
	p := NewPipe(pipeFrom)
	if p == nil {
		t.Skip("this system has no splice")
	}
	defer p.Close()
	source.Close()
	var body wire.Body
	body.Reset(in, wire.Length, 1000, wire.DefaultLimits())
	if n, err := p.Pull(&body, in); n != 0 || err != wire.ErrBodyCut {
		t.Errorf("%d bytes, %v", n, err)
	}
}
