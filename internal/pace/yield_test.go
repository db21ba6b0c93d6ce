package pace_test

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"serai/internal/pace"
)

// TestStepsLookAtTheNetwork: on one processor, whoever waits for bytes gets them while somebody else goes on with
// work that takes long. If Yield were runtime.Gosched, that would be after some 500 steps of 20 µs.
func TestStepsLookAtTheNetwork(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer r.Close()
		for b := make([]byte, 1); ; got.Add(1) {
			if _, err := r.Read(b); err != nil {
				return
			}
		}
	}()
	var steps []int
	for i := range int64(30) {
		pace.Yield() // the reader waits, and the runtime's monitor has no reason to look
		w.Write([]byte{1})
		var p pace.Pace
		n := 0
		for ; n < 10000 && got.Load() == i; n++ {
			for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
			}
			p.Step()
		}
		steps = append(steps, n)
	}
	w.Close()
	<-ended
	slices.Sort(steps)
	if median := steps[len(steps)/2]; median > 100 {
		t.Errorf("half of the bytes reach their reader only after %d steps of the work, want at most 100: %v", median, steps)
	}
}

// TestYieldWithoutFiles: where no pipe can be made, others run all the same.
func TestYieldWithoutFiles(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	none := limit
	none.Cur = 0
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	for range 2 { // no pipe is left from before
		runtime.GC()
	}
	var ran atomic.Int64
	for range 5 {
		go ran.Add(1)
	}
	for range 1000 {
		pace.Yield()
	}
	if n := ran.Load(); n != 5 {
		t.Errorf("%d of the others have run, want 5", n)
	}
}

// TestWaited: what others have the processor for is not counted as work.
func TestWaited(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var p pace.Pace
	if p.Waited() != 0 {
		t.Error("it has waited before it began")
	}
	began := time.Now()
	for i := 0; i < 1_000_000 && p.Waited() < 5*time.Millisecond; i++ {
		go func() {
			for began := time.Now(); time.Since(began) < time.Millisecond; {
			}
		}()
		for began := time.Now(); time.Since(began) < 20*time.Microsecond; {
		}
		p.Step()
	}
	if waited, all := p.Waited(), time.Since(began); waited < 5*time.Millisecond || waited > all {
		t.Errorf("it has waited for %v of %v", waited, all)
	}
}

// TestYieldTogether: many may yield at once.
func TestYieldTogether(t *testing.T) {
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 200 {
				pace.Yield()
			}
		})
	}
	all.Wait()
}
