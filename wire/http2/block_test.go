package http2

import (
	"bytes"
	"testing"
)

// TestLongFieldInSmallPieces: a field that comes a few bytes at a time is decoded a few
// times, however many pieces there are, and takes memory that was asked for.
func TestLongFieldInSmallPieces(t *testing.T) {
	const head = 64 << 10
	field := AppendInteger([]byte{0}, 0, 7, 5)
	field = append(field, "x-abc"...)
	field = AppendInteger(field, 0, 7, head-100)
	field = append(field, bytes.Repeat([]byte("v"), head-100)...)
	asked := 0
	k := NewBlock(head, 4*head)
	k.Room = func() bool { asked++; return true }
	var got lines
	for i := 0; i < len(field)-1; i++ {
		if err := k.Take(field[i:i+1], false, &got); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) > 0 || asked != 1 || !k.Large() {
		t.Fatalf("%d fields, room was asked for %d times, large is %v", len(got), asked, k.Large())
	}
	if err := k.Take(field[len(field)-1:], true, &got); err != nil || len(got) != 1 || len(got[0]) != len("x-abc: ")+head-100 {
		t.Fatalf("%d fields, %v", len(got), err)
	}
	if k.Large() {
		t.Error("the memory is kept behind the block")
	}
	k.Room = func() bool { return false }
	if err := k.Take(field[:InlineSize+1], false, &got); err != ErrHeadLong {
		t.Errorf("without memory: %v", err)
	}
}
