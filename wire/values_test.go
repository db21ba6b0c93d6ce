package wire

import (
	"bytes"
	"fmt"
	"testing"
)

// TestValues: values stay as they are while others are made, whether or not they
// fit the memory, and appending to one does not reach its neighbour.
func TestValues(t *testing.T) {
	var v Values
	for round := range 3 {
		v.Reset()
		var got [][]byte
		var want []string
		for i := range 50 {
			s := fmt.Sprint(round, "-", bytes.Repeat([]byte{'a' + byte(i%26)}, i*i%70))
			want = append(want, s)
			value := v.Keep(append(v.Start(), s...))
			got = append(got, value)
			_ = append(value, "overwritten"...)
		}
		for i := range got {
			if string(got[i]) != want[i] {
				t.Fatalf("round %d: value %d is %q, not %q", round, i, got[i], want[i])
			}
		}
	}
	if empty := v.Keep(v.Start()); len(empty) != 0 {
		t.Errorf("an empty value is %q", empty)
	}
}

// TestLargeValuesAreNotKept: the memory of one message with large values is not that of all
// that follow.
func TestLargeValuesAreNotKept(t *testing.T) {
	var v Values
	first := v.Keep(append(v.Start(), "first"...))
	large := v.Keep(append(v.Start(), make([]byte, 1<<20)...))
	last := v.Keep(append(v.Start(), "last"...))
	if string(first) != "first" || len(large) != 1<<20 || large[0] != 0 || string(last) != "last" {
		t.Errorf("%q, %d bytes, %q", first, len(large), last)
	}
	if v.Reset(); cap(v.kept) > mostKept {
		t.Errorf("%d bytes are kept", cap(v.kept))
	}
}
