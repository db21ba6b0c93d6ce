package http2

import (
	"bytes"
	"testing"
	"time"

	"serai/internal/memory"
	"serai/wire/socket"
)

// TestSlowBodyStaysSmall: a stream that brings a little now and then needs no large window,
// however much that comes to in hours, and no buffer while it is silent; one that brings the
// same at once has both.
func TestSlowBodyStaysSmall(t *testing.T) {
	for _, c := range []struct {
		name  string
		every time.Duration
		size  int
		large bool
	}{
		{"a message every ten seconds", 10 * time.Second, 100, false},
		{"a message every 200 ms", 200 * time.Millisecond, 100, false},
		{"segments of a body, each of which is read at once", time.Millisecond, 1460, true},
		{"one large frame", time.Minute, socket.SmallBuffer - 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			budget := memory.NewBudget(64 << 20)
			var client memory.Client
			client.Join(budget)
			defer client.Leave()
			conn := &conn{streams: make(map[uint32]*stream), next: 3, heard: time.Now()}
			conn.reader.conn = conn
			s := conn.newStream()
			s.id, s.memory, s.final = 1, &client, true
			conn.streams[1] = s
			sent := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, c.size)[:c.size]
			for i := range 1000 {
				if s.window < c.size {
					t.Fatalf("after %d messages the window is %d", i, s.window)
				}
				s.window -= c.size
				conn.heard = conn.heard.Add(c.every)
				if err := conn.reader.data(1, sent); err != nil {
					t.Fatal(err)
				}
				conn.out = conn.out[:0]
				var got []byte
				for {
					data, free := s.body.take()
					s.consume(free)
					if len(data) == 0 {
						break
					}
					got = append(got, data...)
				}
				if !bytes.Equal(got, sent) {
					t.Fatalf("message %d: %d bytes were read, others than the %d that came", i, len(got), len(sent))
				}
				s.rest(conn.heard)
				if s.rest(conn.heard.Add(restAfter)); s.body.ring != nil {
					t.Fatal("a silent stream has a buffer")
				}
			}
			if taken, _ := budget.Taken(memory.Buffers); (taken > 0) != c.large {
				t.Errorf("it has %d bytes of memory", taken)
			}
			client.Give(memory.Buffers, s.reserved)
		})
	}
}

// TestRestKeepsWhatIsRead: what somebody is reading, and what nobody has read, stays.
func TestRestKeepsWhatIsRead(t *testing.T) {
	s := &stream{}
	s.body.put([]byte("ab"))
	later := time.Now().Add(time.Hour)
	s.rest(later)
	data, _ := s.body.take()
	s.rest(later)
	s.body.put([]byte("c"))
	if string(data) != "ab" {
		t.Errorf("%q is read", data)
	}
	if data, _ = s.body.take(); string(data) != "c" {
		t.Errorf("%q is read", data)
	}
}
