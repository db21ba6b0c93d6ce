//go:build !race

package auth

import (
	"testing"

	"serai/policy"
	"serai/wire"
)

// TestAllocNothing: a password that was right a moment ago costs no memory.
func TestAllocNothing(t *testing.T) {
	b := newBasic(t, BasicOptions{}, "ann:"+bcrypted(t, "x"))
	a := ask("Accept: */*", basic("ann", "x"))
	reply := &policy.Reply{Values: &wire.Values{}}
	once := func() {
		a.learned.Reset()
		if b.Request(a, reply) {
			t.Fatal("refused")
		}
	}
	once()
	if n := testing.AllocsPerRun(1000, once); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBasicWarm(b *testing.B) {
	p := newBasic(b, BasicOptions{}, "ann:"+bcrypted(b, "x"))
	a := ask("Accept: */*", basic("ann", "x"))
	reply := &policy.Reply{Values: &wire.Values{}}
	for b.Loop() {
		a.learned.Reset()
		p.Request(a, reply)
	}
}
