package main

import (
	"bufio"
	"fmt"
	"hash/maphash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// oneLargeBody sends a body to the instance and gets it back, at the same time and over
// one connection.
func oneLargeBody(a *arena) error {
	peak, stop := a.watchMemory()
	before := a.rss()
	began := time.Now()
	if err := echoed(a.address(), 1, a.options.Bytes); err != nil {
		a.broken("%v", err)
	}
	took := time.Since(began)
	stop()
	a.see("%d bytes each way in %.0f s, %.0f MB/s, hashes equal; resident before %.1f MiB, most %.1f MiB",
		a.options.Bytes, took.Seconds(), float64(a.options.Bytes)/1e6/took.Seconds(), mib(before), mib(*peak))
	if *peak > before+16<<20 {
		a.broken("memory grew by %.1f MiB", mib(*peak-before))
	}
	return nil
}

// manyBodies does the same with many smaller ones.
func manyBodies(a *arena) error {
	peak, stop := a.watchMemory()
	before := a.rss()
	began := time.Now()
	var running sync.WaitGroup
	failed := make(chan error, 200)
	for i := range 200 {
		running.Go(func() {
			if err := echoed(a.address(), uint64(i), 10<<20); err != nil {
				failed <- err
			}
		})
	}
	running.Wait()
	stop()
	close(failed)
	for err := range failed {
		a.broken("%v", err)
	}
	a.see("200 x 10 MiB each way in %.1f s, hashes equal; resident before %.1f MiB, most %.1f MiB", time.Since(began).Seconds(), mib(before), mib(*peak))
	// Two large buffers for each, some huge ones, and what the collector leaves.
	if most := int64(150 << 20); *peak > most {
		a.broken("more than %.0f MiB of memory", mib(most))
	}
	return nil
}

// watchMemory records the most memory that serai uses until stop is called.
func (a *arena) watchMemory() (peak *int64, stop func()) {
	peak = new(int64)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			*peak = max(*peak, a.rss())
			select {
			case <-ended:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	return peak, func() {
		close(ended)
		<-done
	}
}

// echoed posts n random bytes to the instance's echo and compares what comes
// back while they are being sent.
func echoed(address string, seed uint64, n int64) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	hashes := maphash.MakeSeed()
	sent := make(chan uint64, 1)
	go func() {
		var h maphash.Hash
		h.SetSeed(hashes)
		fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: web.loadtest\r\nContent-Length: %d\r\n\r\n", n)
		io.Copy(io.MultiWriter(c, &h), io.LimitReader(noise(seed), n))
		sent <- h.Sum64()
	}()
	res, err := http.ReadResponse(bufio.NewReaderSize(c, 256<<10), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var h maphash.Hash
	h.SetSeed(hashes)
	got, err := io.CopyBuffer(&h, res.Body, make([]byte, 256<<10))
	if err != nil || got != n {
		return fmt.Errorf("%d of %d bytes came back: %w", got, n, err)
	}
	if h.Sum64() != <-sent {
		return fmt.Errorf("of %d bytes others came back than were sent", n)
	}
	return nil
}

// noise is an endless stream that depends on seed: a random block, with a counter in
// it.
func noise(seed uint64) io.Reader {
	b := make([]byte, 256<<10)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1})
	r.Read(b)
	return &repeated{block: b}
}

type repeated struct {
	block []byte
	rest  []byte
	count uint64
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		r.count++
		for i := range 8 {
			r.block[i] = byte(r.count >> (8 * i))
		}
		r.rest = r.block
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}
