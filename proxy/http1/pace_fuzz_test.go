package http1

import (
	"math/big"
	"testing"
	"time"
)

// FuzzMinRate goes through waits and what they brought. How late a client is agrees
// with fractions, is never more than it was waited for, nor less than nothing; and one
// that keeps to the rate in each wait is never late.
func FuzzMinRate(f *testing.F) {
	f.Add(uint32(100), []byte{0, 100, 1, 0, 255, 255, 3, 0})
	f.Add(uint32(1), []byte{255, 255, 255, 0, 255, 1})
	f.Add(uint32(0), []byte{255, 0})
	f.Add(uint32(1<<31), []byte{1, 255, 1, 1})
	f.Fuzz(func(t *testing.T, number uint32, program []byte) {
		rate := int(number)
		var p, keeping pace
		late, waited := new(big.Rat), time.Duration(0)
		for step := 0; step+1 < len(program); step += 2 {
			// A wait of up to 65 s, and up to a megabyte.
			took := time.Duration(program[step]) * time.Duration(program[step]) * time.Millisecond
			n := int(program[step+1]) * int(program[step+1]) * 16
			before := p.late
			p.waited(took, n, rate)
			waited += took
			if rate == 0 {
				if p.late != 0 {
					t.Fatalf("without a rate a client is late by %v", p.late)
				}
				continue
			}
			late.Add(late, big.NewRat(int64(took), 1)).Sub(late, new(big.Rat).Mul(big.NewRat(int64(n), int64(rate)), big.NewRat(int64(time.Second), 1)))
			if late.Sign() < 0 {
				late.SetInt64(0)
			}
			want, _ := late.Float64()
			if off := float64(p.late) - want; off > float64(step+2)*1000 || off < -float64(step+2)*1000 {
				t.Fatalf("late by %v, want %v, after %v", p.late, time.Duration(want), program[:step+2])
			}
			if p.late < 0 || p.late > waited {
				t.Fatalf("late by %v of %v", p.late, waited)
			}
			if n == 0 && p.late != before+took {
				t.Fatalf("%v of silence make %v of %v", took, p.late, before)
			}
			enough := new(big.Int).Mul(big.NewInt(int64(took)), big.NewInt(int64(rate)))
			if enough.Div(enough, big.NewInt(int64(time.Second))); enough.IsInt64() && enough.Int64() < 1<<40 {
				if keeping.waited(took, int(enough.Int64())+1, rate); keeping.late > 0 {
					t.Fatalf("a client that keeps to %d a second is late by %v", rate, keeping.late)
				}
			}
		}
	})
}
