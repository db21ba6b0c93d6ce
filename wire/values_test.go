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
