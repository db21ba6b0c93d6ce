package http2

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"serai/wire"
	"serai/wire/http2"
)

// TestPriorities has streams wait with DATA for a window: what is sent when it is opened,
// frame by frame, is in the order that the client has asked for.
func TestPriorities(t *testing.T) {
	const size = 4 * smallWindow
	for _, c := range []struct {
		name   string
		fields []string          // of streams 1, 3 and so on
		update map[uint32]string // of some of them
		early  bool              // before they are open
		want   string            // the streams of the frames
	}{
		{name: "urgency", fields: []string{"u=7", "u=5", "u=0"}, want: "5 5 5 5 3 3 3 3 1 1 1 1"},
		{name: "as they came", fields: []string{"u=3", "u=3", "u=3"}, want: "1 1 1 1 3 3 3 3 5 5 5 5"},
		{name: "in turns", fields: []string{"u=3, i", "u=3, i=?1", "u=1, i=?0"}, want: "5 5 5 5 1 3 1 3 1 3 1 3"},
		{name: "nothing said", fields: []string{"-", "-", "u=1"}, want: "5 5 5 5 1 3 1 3 1 3 1 3"},
		{name: "nonsense", fields: []string{"u=4", "u=9, x=y, u, i=2", "u=2;a=b ,  z"}, want: "5 5 5 5 3 3 3 3 1 1 1 1"},
		{name: "PRIORITY_UPDATE", fields: []string{"u=1", "u=2", "u=3"}, update: map[uint32]string{5: "u=0", 1: "u=6"}, want: "5 5 5 5 3 3 3 3 1 1 1 1"},
		{name: "PRIORITY_UPDATE before", fields: []string{"u=1", "u=2", "u=3"}, update: map[uint32]string{5: "u=0", 1: "u=6"}, early: true, want: "5 5 5 5 3 3 3 3 1 1 1 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &Engine{}
			e.options.setDefaults()
			k := &conn{engine: e, streams: make(map[uint32]*stream)}
			k.room.L = &k.mu
			k.frame, k.flushing = http2.FrameSize, true // another one writes
			update := func() {
				for id, value := range c.update {
					k.reprioritize(id, []byte(value))
				}
			}
			if c.early {
				update()
			}
			var sending sync.WaitGroup
			for i, value := range c.fields {
				s := newStream(e)
				s.conn, s.id, s.window = k, uint32(2*i+1), http2.MaxWindow
				s.answer.reset()
				if value != "-" {
					s.Head.Fields = append(s.Head.Fields, wire.Field{Name: []byte("priority"), Value: []byte(value), Kind: wire.KindOf([]byte("priority"))})
				}
				k.mu.Lock()
				k.streams[s.id], k.lastID = s, s.id
				s.prioritize()
				k.mu.Unlock()
				sending.Go(func() {
					k.mu.Lock()
					defer k.mu.Unlock()
					if err := s.send(make([]byte, size), time.Hour); err != nil {
						t.Error(err)
					}
				})
			}
			if !c.early {
				update()
			}
			got := ""
			for range len(c.fields) * size / smallWindow {
				untilAll(k, func() bool {
					for _, s := range k.streams {
						if !s.waits && s.window > http2.MaxWindow-size {
							return false
						}
					}
					return true
				})
				k.mu.Lock()
				k.window = smallWindow
				k.room.Broadcast()
				k.mu.Unlock()
				untilAll(k, func() bool { return k.window == 0 })
				k.mu.Lock()
				got += fmt.Sprintf("%d ", http2.ParseHeader(k.out).Stream)
				k.out = k.out[:0]
				k.mu.Unlock()
			}
			sending.Wait()
			if got != c.want+" " {
				t.Errorf("sent %s, want %s", got, c.want)
			}
		})
	}
}

// untilAll waits until a condition of the connection holds.
func untilAll(c *conn, holds func() bool) {
	for {
		c.mu.Lock()
		ok := holds()
		c.mu.Unlock()
		if ok {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
