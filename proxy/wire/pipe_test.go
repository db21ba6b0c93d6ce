package wire

import (
	"bytes"
	"io"
	"testing"
)

func TestPipe(t *testing.T) {
	const size = 5<<20 + 3
	in, source := pair(t)
	out, sink := pair(t)
	p := NewPipe(hugeFrom)
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
	var body Body
	body.Reset(in, Length, size, DefaultLimits())
	if err := in.Fill(); err != nil {
		t.Fatal(err)
	}
	// What has been read already is Next's.
	if n, err := body.Pull(p); n != 0 || err != nil {
		t.Fatalf("%d bytes, %v beside what is buffered", n, err)
	}
	for piped, copied := 0, 0; ; {
		n, err := body.Pull(p)
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
	p := NewPipe(hugeFrom)
	if p == nil {
		t.Skip("this system has no splice")
	}
	defer p.Close()
	source.Close()
	var body Body
	body.Reset(in, Length, 1000, DefaultLimits())
	if n, err := body.Pull(p); n != 0 || err != ErrBodyCut {
		t.Errorf("%d bytes, %v", n, err)
	}
}
