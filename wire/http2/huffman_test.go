package http2

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// TestHuffman has each pair of symbols decoded, and each end that a string may not have.
func TestHuffman(t *testing.T) {
	for i := range 1 << 16 {
		want := string([]byte{byte(i >> 8), byte(i)})
		if got, ok := appendHuffman([]byte("a"), hpack.AppendHuffmanString(nil, want)); !ok || string(got) != "a"+want {
			t.Fatalf("%q is decoded as %q, %v", want, got, ok)
		}
	}
	for name, coded := range map[string][]byte{
		"padding of zeros":            {0x18},                         // "a", and three zeros
		"padding of eight bits":       {0x1f, 0xff},                   // "a", and eleven ones
		"padding alone":               {0xff},                         // eight ones
		"end of string":               {0xff, 0xff, 0xff, 0xff},       // 30 ones, and two
		"end of string behind symbol": {0x1f, 0xff, 0xff, 0xff, 0xff}, // "a" first
		"code cut off":                {0xff, 0xc0},                   // a part of a code of 13 bits
	} {
		if got, ok := appendHuffman(nil, coded); ok {
			t.Errorf("%s: decoded as %q", name, got)
		}
	}
	if got, ok := appendHuffman(nil, nil); !ok || len(got) > 0 {
		t.Errorf("an empty string is decoded as %q, %v", got, ok)
	}
}

// FuzzHuffman holds the decoder of strings to that of the library.
func FuzzHuffman(f *testing.F) {
	f.Add([]byte("/v1/users?id=0"))
	f.Add(hpack.AppendHuffmanString(nil, "/v1/users?id=0"))
	f.Add(hpack.AppendHuffmanString(nil, "\x00\xff\n{}"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xfe})
	f.Fuzz(func(t *testing.T, coded []byte) {
		got, ok := appendHuffman(nil, coded)
		var want bytes.Buffer
		_, err := hpack.HuffmanDecode(&want, coded)
		if ok != (err == nil) || ok && !bytes.Equal(got, want.Bytes()) {
			t.Fatalf("%x: we say %q, %v, the library %q, %v", coded, got, ok, want.Bytes(), err)
		}
		whole := hpack.AppendHuffmanString(nil, string(coded))
		if got, ok := appendHuffman(nil, whole); !ok || !bytes.Equal(got, coded) {
			t.Fatalf("%x, coded as %x, is decoded as %x, %v", coded, whole, got, ok)
		}
	})
}

func BenchmarkHuffman(b *testing.B) {
	coded := hpack.AppendHuffmanString(nil, "/loadtest.Echo/Unary?session=0f3a9c")
	dst := make([]byte, 0, 100)
	for b.Loop() {
		dst, _ = appendHuffman(dst[:0], coded)
	}
}
