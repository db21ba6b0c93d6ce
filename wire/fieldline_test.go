package wire

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// sameFields parses lines twice, in the way of most lines and, as there is no room for a
// field yet, in that of all others, and compares the fields, or the errors. A field is
// compared while the slow way has taken all before it, which are the first three.
func sameFields(t *testing.T, buf []byte, s syntax) {
	t.Helper()
	const first = 3
	quick, quickUsed, quickErr := parseFields(buf, make([]Field, 0, first+1), first, s)
	slow, slowUsed, slowErr := parseFields(buf, nil, first, s)
	if fmt.Sprint(quickErr) != fmt.Sprint(slowErr) || errors.Is(quickErr, ErrIncomplete) != errors.Is(slowErr, ErrIncomplete) {
		t.Errorf("%q: %v, want %v", buf, quickErr, slowErr)
	}
	if quickUsed != slowUsed || len(quick) != len(slow) {
		t.Fatalf("%q: %d bytes and %d fields, want %d and %d", buf, quickUsed, len(quick), slowUsed, len(slow))
	}
	for i, f := range quick {
		if w := slow[i]; !bytes.Equal(f.Name, w.Name) || !bytes.Equal(f.Value, w.Value) || f.Kind != w.Kind {
			t.Errorf("%q: field %q: %q of kind %d, want %q: %q of kind %d", buf, f.Name, f.Value, f.Kind, w.Name, w.Value, w.Kind)
		}
	}
}

// TestBothWaysOfALine: every byte at every place of a line, with names of all lengths, and
// an end anywhere.
func TestBothWaysOfALine(t *testing.T) {
	for _, line := range []string{
		"TE: trailers", "Te:x", "Host: a", "Date:  Sun, 06 Nov 1994 08:49:37 GMT ", "Cookie: a=b", "X-Real-Ip:\t::1", "Connection: close",
		"X-Forwarded-Proto: https", "Transfer-Encoding: chunked", "Upgrade-Insecure-Requests: 1", "X: y", "Content-Length: ", "Content-Length:",
	} {
		for _, tail := range []string{"", "\r\n", "\r\n\r\n", "\r\nHost: b\r\n\r\n", "\r\n\r\nand a body"} {
			whole := []byte(line + tail)
			for cut := range len(whole) + 1 {
				sameFields(t, whole[:cut], strict)
				sameFields(t, whole[:cut], lenient)
			}
			for at := range len(line) {
				for b := range 256 {
					changed := bytes.Clone(whole)
					changed[at] = byte(b)
					sameFields(t, changed, strict)
					sameFields(t, changed, lenient)
				}
			}
		}
	}
}

// FuzzBothWaysOfALine: whatever comes.
func FuzzBothWaysOfALine(f *testing.F) {
	f.Add([]byte("Host: a\r\nX-Forwarded-For: 1.2.3.4\tx\r\nAccept: */*\r\n\r\n"))
	f.Add([]byte("abc\nHost: b\r\n\r\n"))
	f.Add([]byte("Host : a\r\nConnection: \x7f\r\n\r\n"))
	f.Fuzz(func(t *testing.T, buf []byte) {
		sameFields(t, buf, strict)
		sameFields(t, buf, lenient)
	})
}
